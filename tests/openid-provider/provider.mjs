// An OpenID provider for one test: a certified implementation, at which everybody is `ada` and says yes.
// Usage: node provider.mjs PORT REDIRECT_URI. Says `listening` when it does.
import Provider from 'oidc-provider';

const [port, redirectUri] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'plimsoll',
    client_secret: 'hunter2',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code'],
    response_types: ['code'],
  }],
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email'],
  claims: { openid: ['sub', 'groups'], profile: ['preferred_username'], email: ['email', 'email_verified'] },
  findAccount: async (_, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id,
      preferred_username: id,
      email: `${id}@example.org`,
      email_verified: true,
      groups: ['analysts'],
    }),
  }),
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: ['only for tests'] },
});

provider.use(async (context, next) => {
  if (!context.path.startsWith('/interaction/')) return next();
  const grant = new provider.Grant({ accountId: 'ada', clientId: 'plimsoll' });
  grant.addOIDCScope('openid profile email');
  const result = { login: { accountId: 'ada' }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(context.req, context.res, result);
  context.respond = false;
});

provider.listen(port, '127.0.0.1', () => console.log('listening'));
