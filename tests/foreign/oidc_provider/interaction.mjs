// The pages on which a user signs in and consents: any user name, and one button that allows.
import { text } from 'node:stream/consumers';

export const page = (body) => `<!doctype html><title>oidc-provider</title>${body}`;

const FIELDS = {
  login: '<input name="username"><input name="password" type="password">',
  consent: '',
};

const form = (fields) => page(`<form method="post">${fields}
  <button name="allow" value="yes">Allow</button><button>Deny</button></form>`);

const DENIED = { error: 'access_denied', error_description: 'End-User aborted interaction' };

// What each prompt asks of the user, as the package wants it answered.
const RESULTS = {
  login: (provider, details, answers) => ({ login: { accountId: answers.get('username') } }),

  consent: async (provider, { grantId, params, prompt, session }) => {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
    return { consent: { grantId: await grant.save() } };
  },
};

export const interaction = (provider) => async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const details = await provider.interactionDetails(ctx.req, ctx.res);
  const { name } = details.prompt;
  if (ctx.method === 'GET') {
    ctx.body = form(FIELDS[name]);
    return undefined;
  }
  const answers = new URLSearchParams(await text(ctx.req));
  const result = answers.has('allow') ? await RESULTS[name](provider, details, answers) : DENIED;
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
  ctx.status = 303;
  return undefined;
};
