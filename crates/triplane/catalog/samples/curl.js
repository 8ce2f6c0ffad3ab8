// Fetches an address.
async function main({ payload }) {
  if (!payload) throw 'Expected the address to fetch in a parameter called payload.';
  const url = /^https?:\/\//.test(payload) ? payload : `http://${payload}`;
  const response = await fetch(url);
  return { msg: await response.text() };
}
