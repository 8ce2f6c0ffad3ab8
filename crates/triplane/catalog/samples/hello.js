// Writes a line into the log.
function main({ payload = 'world' }) {
  console.log(`hello ${payload}!`);
  return {};
}
