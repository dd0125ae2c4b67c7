// What the tests say to this server and ask of it, beside the protocol.
//
//   POST /control/token-answers   {status, body, delay, drop}: what befalls the next token request
//   GET  /control/token-requests  [[client_id, grant_type, outcome, count], …]
//
// An outcome is `success`, an OAuth error, `reused` (a code or refresh token that had been used before),
// or what the tests had asked for: `injected`, or `dropped` before the package saw the request.
import { text, json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

const REUSED = new Set(['authorization code already consumed', 'refresh token already used']);

const answers = []; // first in, first out
const counts = new Map();

function count(...what) {
  const key = JSON.stringify(what);
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

export async function control(ctx, next) {
  switch (`${ctx.method} ${ctx.path}`) {
    case 'POST /control/token-answers':
      answers.push(await json(ctx.req));
      ctx.status = 204;
      break;
    case 'GET /control/token-requests':
      ctx.body = [...counts].map(([key, times]) => [...JSON.parse(key), times]);
      break;
    default:
      await next();
  }
}

// Who asked for what, in a request that the package will not see.
async function readTokenRequest(ctx) {
  const form = new URLSearchParams(await text(ctx.req));
  const basic = Buffer.from(ctx.get('authorization').replace(/^Basic /i, ''), 'base64').toString();
  return [form.get('client_id') ?? decodeURIComponent(basic.split(':')[0]), form.get('grant_type')];
}

function dropConnection(ctx) {
  ctx.respond = false;
  ctx.req.socket.destroy();
}

export const tokenRequests = (provider) => {
  provider.on('grant.error', (ctx, { error_detail: detail }) => {
    ctx.state.reused = REUSED.has(detail);
  });

  return async (ctx, next) => {
    if (`${ctx.method} ${ctx.path}` !== 'POST /oauth2/token') return next();
    const { status, body, delay, drop } = answers.shift() ?? {};
    if (status || drop === 'request') {
      count(...(await readTokenRequest(ctx)), status ? 'injected' : 'dropped');
      await sleep(delay * 1000);
      if (!status) return dropConnection(ctx);
      ctx.set('Cache-Control', 'no-store');
      Object.assign(ctx, { status, body: body ?? '' });
      return undefined;
    }
    if (delay) await sleep(delay * 1000);
    await next();
    const { client, params } = ctx.oidc;
    const outcome = ctx.state.reused ? 'reused' : (ctx.body.error ?? 'success');
    count(client?.clientId ?? params?.client_id, params?.grant_type, outcome);
    if (drop === 'response') dropConnection(ctx);
    return undefined;
  };
};
