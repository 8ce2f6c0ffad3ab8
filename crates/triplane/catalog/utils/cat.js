// Joins lines into one text.
function main({ lines = [], payload }) {
  const texts = Array.isArray(lines) ? lines : [lines];
  const text = texts.map((line) => `${line}\n`).join('');
  return { lines: texts, payload: payload === undefined ? text : payload };
}
