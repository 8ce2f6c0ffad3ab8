// Answers the address of an action, a web action or a trigger of the caller's namespace.
function main({ web, ext = '', trigger, path }) {
  const base = `${process.env.__OW_API_HOST}/api/v1`;
  const namespace = process.env.__OW_NAMESPACE;
  if (!path) return { url: base };
  const parts = path.split('/');
  if (parts.length > 2) throw 'Expected a path of the form <action name> or <package name>/<action name>.';
  if (web) {
    const [pkg, action] = parts.length === 2 ? parts : ['default', path];
    return { url: `${base}/web/${namespace}/${pkg}/${action}${ext}` };
  }
  return { url: `${base}/namespaces/${namespace}/${trigger ? 'triggers' : 'actions'}/${path}` };
}
