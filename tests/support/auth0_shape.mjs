// The package oidc-provider with the addresses, parameters and tokens of an Auth0 tenant. Its settings are one argument, in JSON:
// cert, key, keys (private JWKs: the first one signs, the second one is the next), applications
// (id, secret, policy, grants: audience to permissions; `management` is the audience of the tenant's own API). Prints its port,
// and then a line whenever it gives its key set, rotates or revokes.
import { createHash } from 'node:crypto';
import { createServer } from 'node:https';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { Provider, errors } from 'oidc-provider';

const settings = JSON.parse(process.argv[1]);
const applications = new Map(settings.applications.map((each) => [each.id, each]));
const server = createServer({ cert: settings.cert, key: settings.key });
let { keys } = settings;
let signing = 0;
let issuer;
let answer;

// Once rotated, the key before stays in the set until it is revoked.
function published() {
  return [...keys.slice(signing, signing + 2), ...keys.slice(0, signing)];
}

function permissionsOf(id, audience) {
  const name = audience === `${issuer}api/v2/` ? 'management' : audience;
  const permissions = applications.get(id).grants[name];
  if (!permissions) throw new errors.AccessDenied('the application is not authorised for this API');
  return permissions;
}

async function readTokenRequest(ctx, next) {
  if (ctx.path === '/oauth/token') {
    const chunks = [];
    for await (const chunk of ctx.req) chunks.push(chunk);
    const { audience, ...body } = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
    ctx.req.body = audience === undefined ? body : { ...body, resource: audience };
  }
  await next();
  if (ctx.path === '/.well-known/jwks.json') {
    console.log('gives its keys');
    for (const key of ctx.body.keys) key.x5t = createHash('sha1').update(Buffer.from(key.x5c[0], 'base64')).digest('base64url');
  }
}

function shape(_, token, made) {
  const { client_id: id, ...claims } = made.payload;
  const { policy } = applications.get(id);
  const permissions = permissionsOf(id, claims.aud);
  const scope = permissions.length ? { scope: permissions.join(' ') } : {};
  made.header = { typ: 'JWT' };
  made.payload = { ...claims, ...scope, sub: `${id}@clients`, gty: 'client-credentials', azp: id, permissions };
  if (policy) made.payload['https://acme.example/pol'] = policy;
}

function serve() {
  const provider = new Provider(issuer, {
    clients: settings.applications.map(({ id, secret }) => ({
      client_id: id, client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    })),
    cookies: { keys: ['a key of tests'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, audience, client) => ({
          scope: permissionsOf(client.clientId, audience).join(' '),
          audience, accessTokenTTL: 86400, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    formats: { customizers: { jwt: shape } },
    jwks: { keys: published() },
    routes: { token: '/oauth/token', jwks: '/.well-known/jwks.json' },
  });
  provider.use(readTokenRequest);
  answer = provider.callback();
}

// The tenant's own API: rotate and revoke.
async function manage(request, response) {
  const open = published().map(({ kty, n, e, kid }) => ({ kty, n, e, kid }));
  const [, token] = (request.headers.authorization ?? '').split(' ');
  const { payload } = await jwtVerify(token, createLocalJWKSet({ keys: open }), { issuer, audience: `${issuer}api/v2/` });
  const [, kid] = /^\/api\/v2\/keys\/signing\/([^/]+)\/revoke$/.exec(request.url) ?? [];
  if (!payload.permissions.includes('update:signing_keys')) throw new Error('no permission');
  if (request.method === 'POST' && request.url === '/api/v2/keys/signing/rotate' && signing + 2 < keys.length) {
    signing += 1;
    console.log('rotated');
  } else if (request.method === 'PUT' && keys.slice(0, signing).some((key) => key.kid === kid)) {
    keys = keys.filter((key) => key.kid !== kid);
    signing -= 1;
    console.log('revoked');
  } else {
    throw new Error(`nothing at ${request.method} ${request.url}`);
  }
  serve();
  response.writeHead(201, { 'Content-Type': 'application/json' }).end(JSON.stringify({ kid: kid ?? keys[signing + 1].kid }));
}

server.on('request', (request, response) => {
  if (!request.url.startsWith('/api/v2/')) return answer(request, response);
  return manage(request, response).catch((error) => {
    console.log(error.message);
    response.writeHead(403, { 'Content-Type': 'application/json' }).end('{"message": "refused"}');
  });
});
server.listen(0, '127.0.0.1', () => {
  issuer = `https://localhost:${server.address().port}/`;
  serve();
  console.log(`listens on ${server.address().port}`);
});
