// Puts all parameters under one, whose name `$fieldName` gives.
function main({ $fieldName: field, ...rest }) {
  if (!field) throw 'Expected a parameter called $fieldName.';
  return { [field]: rest };
}
