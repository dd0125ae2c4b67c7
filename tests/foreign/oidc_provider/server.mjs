// The package `oidc-provider` as a server at Ory Hydra's paths, for the tests; on loopback only.
//
//   node server.mjs [PORT]
//
// Prints its base URL as one line when it listens, and ends with SIGTERM or when stdin closes.
// ACCESS_TOKEN_LIFETIME, in seconds, comes from the environment.
// Never has state of its own: all of it is the package's, in memory, except what `control.mjs` counts.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';
import LRU from 'oidc-provider/lib/helpers/lru.js';
import { control, tokenRequests } from './control.mjs';
import { interaction, page } from './interaction.mjs';
import { luminApi } from './lumin_api.mjs';

const ACCESS_TOKEN_LIFETIME = Number(process.env.ACCESS_TOKEN_LIFETIME ?? 3600);
const DAY = 86_400;

// The package's own store forgets beyond 1,000 entries.
class RoomyAdapter extends MemoryAdapter {
  static #store = new LRU({ maxSize: 1_000_000 });

  constructor(model) {
    super(model, RoomyAdapter.#store);
  }
}

const claimsOf = (sub) => ({ sub, email: `${sub}@example.com`, email_verified: true, name: sub });

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' };
}

const configuration = {
  adapter: RoomyAdapter,
  jwks: { keys: [signingKey()] },
  routes: {
    authorization: '/oauth2/auth',
    token: '/oauth2/token',
    revocation: '/oauth2/revoke',
    registration: '/oauth2/register',
    end_session: '/oauth2/sessions/logout',
    userinfo: '/userinfo',
    jwks: '/.well-known/jwks.json',
  },
  cookies: {
    // Cookies do not know ports: the app under test shares this server's jar.
    names: { session: 'op_session', interaction: 'op_interaction', resume: 'op_resume' },
    keys: [randomBytes(32).toString('hex')],
  },
  scopes: ['openid', 'offline_access', 'sign:requests', 'sign:requests.read'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: false, // as Hydra: the ID token has the claims of its scopes
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => claimsOf(sub) }),
  clockTolerance: 0, // 15 s, the default, would keep expired tokens alive
  pkce: { required: () => true },
  rotateRefreshToken: true,
  revokeGrantPolicy: () => true, // as Hydra: revoking an access token ends the whole grant
  ttl: {
    AccessToken: (ctx, token, client) => client.access_token_lifetime ?? ACCESS_TOKEN_LIFETIME,
    AuthorizationCode: 600,
    IdToken: 3600,
    Interaction: 1800,
    RefreshToken: 30 * DAY,
    Grant: 30 * DAY,
    Session: DAY,
  },
  extraClientMetadata: { properties: ['access_token_lifetime'] },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    revocation: { enabled: true, allowedPolicy: (ctx, client, token) => token.clientId === client.clientId },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = page(form.replace('</form>', '<button name="logout" value="yes">Sign out</button></form>'));
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = page('Signed out');
      },
    },
  },
  interactions: { url: (ctx, { uid }) => `/interaction/${uid}` },
  renderError: (ctx, { error, error_description: description }) => {
    ctx.type = 'html';
    ctx.body = page(`${error}: ${description}`);
  },
  clientBasedCORS: () => false,
  // The package's dispatcher refuses to reach loopback, where the relying parties are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
};

// Hydra issues a refresh token without `prompt=consent`; the package does not (OIDC Core 11).
function consentForOfflineAccess(ctx, next) {
  const { scope, prompt = '' } = ctx.query;
  const offline = ctx.path === '/oauth2/auth' && String(scope).split(' ').includes('offline_access');
  if (offline && !/\b(none|consent)\b/.test(prompt)) {
    ctx.query = { ...ctx.query, prompt: `${prompt} consent`.trim() };
  }
  return next();
}

const server = createServer({ keepAliveTimeout: 60_000 });
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  provider.use(consentForOfflineAccess);
  provider.use(tokenRequests(provider));
  provider.use(control);
  provider.use(interaction(provider));
  provider.use(luminApi(provider, claimsOf));
  server.on('request', provider.callback());
  console.log(issuer);
});

const stop = () => process.exit(0);
process.on('SIGTERM', stop);
process.stdin.on('end', stop).resume();
