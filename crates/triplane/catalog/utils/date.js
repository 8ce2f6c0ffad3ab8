// Answers the time.
function main() {
  return { date: new Date().toISOString() };
}
