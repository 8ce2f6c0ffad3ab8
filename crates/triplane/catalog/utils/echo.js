// Answers what it was given.
function main(params) {
  console.log(params);
  return params;
}
