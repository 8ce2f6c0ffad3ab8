// Sorts lines; numbers by their value.
function main({ lines = [] }) {
  const byValue = lines.every((line) => typeof line === 'number') ? (a, b) => a - b : undefined;
  const sorted = [...lines].sort(byValue);
  return { lines: sorted, length: sorted.length };
}
