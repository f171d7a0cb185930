// The package oidc-provider as an authorization server over TLS. Its settings are one argument, in JSON:
// cert, key, ca (of clients; none in place of others), port (0 chooses one), keys (private JWKs), clients, secret (of tokens by HMAC).
// Prints its port; then reads a line of private JWKs at a time, signs with those from then on, and says how many they are.
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { Provider } from 'oidc-provider';

const settings = JSON.parse(process.argv[1]);
const server = createServer({ cert: settings.cert, key: settings.key, ca: settings.ca, requestCert: true, rejectUnauthorized: false });
let answer;
server.on('request', (request, response) => answer(request, response));
server.listen(settings.port, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = `https://localhost:${port}`;

  // A resource urn:jwt:ALGORITHM has signed tokens, any other one opaque ones.
  function describeResource(_, resource) {
    const alg = resource.startsWith('urn:jwt:') ? resource.slice(8) : '';
    const key = alg.startsWith('HS') ? Buffer.from(settings.secret) : undefined;
    return {
      scope: 'read write', audience: resource, accessTokenTTL: 600,
      ...(alg ? { accessTokenFormat: 'jwt', jwt: { sign: { alg, key } } } : { accessTokenFormat: 'opaque' }),
    };
  }

  function serve(keys) {
    // Opaque tokens and codes go with the keys: each has a storage of its own.
    answer = new Provider(issuer, {
      clients: settings.clients,
      clientAuthMethods: [
        'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none',
      ],
      cookies: { keys: ['a key of tests'] },
      enabledJWA: {
        idTokenSigningAlgValues: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
      },
      extraTokenClaims: (_, token) => ({ holder: { name: token.accountId ?? token.clientId } }),
      features: {
        clientCredentials: { enabled: true },
        dPoP: { enabled: true },
        introspection: { enabled: true },
        mTLS: {
          enabled: true,
          certificateBoundAccessTokens: true,
          selfSignedTlsClientAuth: true,
          tlsClientAuth: true,
          getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate(),
          certificateAuthorized: (ctx) => ctx.req.socket.authorized,
          certificateSubjectMatches: (ctx, property, expected) => (
            property === 'tls_client_auth_subject_dn' && ctx.req.socket.getPeerX509Certificate().subject === expected),
        },
        resourceIndicators: { enabled: true, getResourceServerInfo: describeResource },
        revocation: { enabled: true },
      },
      findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
      jwks: { keys },
      pkce: { required: () => false },
      scopes: ['openid', 'read', 'write'],
    }).callback();
  }

  serve(settings.keys);
  createInterface({ input: process.stdin }).on('line', (line) => {
    const keys = JSON.parse(line);
    serve(keys);
    console.log(`signs with ${keys.length} keys`);
  }).on('close', () => process.exit());
  console.log(`listens on ${port}`);
});
