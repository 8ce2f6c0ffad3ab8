// Answers a friendly greeting.
function main(params) {
  console.log('params:', params);
  const { name = 'stranger', place = 'somewhere' } = params;
  return { payload: `Hello, ${name} from ${place}!` };
}
