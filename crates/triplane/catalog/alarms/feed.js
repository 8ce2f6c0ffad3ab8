// A feed of alarms: carries what it is asked for to the platform's alarms, with the key that it is given.
const METHODS = { CREATE: 'PUT', READ: 'GET', UPDATE: 'POST', DELETE: 'DELETE', PAUSE: 'POST', UNPAUSE: 'POST' };
const OURS = ['lifecycleEvent', 'triggerName', 'authKey'];

async function main({ feed, ...params }) {
  const { lifecycleEvent = 'CREATE', triggerName, authKey } = params;
  const method = Object.hasOwn(METHODS, lifecycleEvent) && METHODS[lifecycleEvent];
  if (!authKey) throw 'no authKey parameter was provided';
  if (!triggerName) throw 'no trigger name parameter was provided';
  if (!method) throw 'unsupported lifecycleEvent';
  const [name, namespace = '_', ...rest] = String(triggerName).replace(/^\//, '').split('/').reverse();
  if (rest.length > 0) throw `the trigger name '${triggerName}' is not valid`;
  const url = `${process.env.__OW_API_HOST}/api/v1/namespaces/${encodeURIComponent(namespace)}/alarms/${encodeURIComponent(name)}`;
  const response = await fetch(url, {
    method,
    headers: { Authorization: `Basic ${Buffer.from(String(authKey)).toString('base64')}`, 'Content-Type': 'application/json' },
    body: method === 'GET' || method === 'DELETE' ? undefined : JSON.stringify(asked(lifecycleEvent, feed, params)),
  });
  const answer = await response.json();
  if (!response.ok) throw answer.error;
  return lifecycleEvent === 'READ' ? { config: answer.config, status: answer.status } : { status: 'success' };
}

function asked(lifecycleEvent, feed, params) {
  if (lifecycleEvent === 'PAUSE') return { active: false };
  if (lifecycleEvent === 'UNPAUSE') return { active: true };
  const given = Object.fromEntries(Object.entries(params).filter(([name]) => !OURS.includes(name)));
  return lifecycleEvent === 'CREATE' ? { ...given, feed } : given;
}
