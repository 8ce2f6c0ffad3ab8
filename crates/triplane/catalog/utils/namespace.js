// Answers in which namespace it was called.
function main() {
  return { namespace: process.env.__OW_NAMESPACE };
}
