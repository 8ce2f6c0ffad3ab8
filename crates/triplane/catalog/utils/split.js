// Parts a text at a separator: a text, or a regular expression between slashes.
function main({ payload = '', separator = /\r?\n/ }) {
  const expression = typeof separator === 'string' && /^\/(.*)\/([a-z]*)$/.exec(separator);
  const at = expression ? new RegExp(expression[1], expression[2]) : separator;
  return { lines: String(payload).split(at), payload };
}
