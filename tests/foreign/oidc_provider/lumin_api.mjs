// As much of Lumin's API as shows whether an access token is alive, whose it is, and what it may do.
const RESOURCES = {
  '/v1/user/info': {
    scope: 'openid',
    body: ({ sub, email, name }) => ({ user: { id: sub, email, name } }),
  },
  '/v1/signature_requests': {
    scope: 'sign:requests',
    body: () => ({ signature_requests: [] }),
  },
};

function refuse(ctx, status, error) {
  ctx.status = status;
  ctx.set('WWW-Authenticate', `Bearer error="${error}"`); // RFC 6750 section 3
  ctx.body = { error_code: error, error_message: 'The access token does not open this.' };
}

export const luminApi = (provider, claimsOf) => async (ctx, next) => {
  const resource = RESOURCES[ctx.path];
  if (!resource) return next();
  const [, value] = /^Bearer (\S+)$/i.exec(ctx.get('authorization')) ?? [];
  const token = value && (await provider.AccessToken.find(value));
  if (!token) return refuse(ctx, 401, 'invalid_token');
  if (!token.scopes.has(resource.scope)) return refuse(ctx, 403, 'insufficient_scope');
  ctx.body = resource.body(claimsOf(token.accountId));
  return undefined;
};
