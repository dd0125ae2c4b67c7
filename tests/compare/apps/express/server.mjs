// Express: bare, or with express-openid-connect, whose sessions are in the cookie.
import express from "express";
import openid from "express-openid-connect";

const { PORT, ORIGIN, ISSUER, API_URL, CLIENT_ID, CLIENT_SECRET, SECRET, SIGN_IN } = process.env;
const app = express();
if (SIGN_IN) {
  app.use(
    openid.auth({
      baseURL: ORIGIN,
      issuerBaseURL: ISSUER,
      clientID: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      secret: SECRET,
      clientAuthMethod: "client_secret_post",
      authorizationParams: { response_type: "code", scope: "openid offline_access sign:requests" },
      routes: { callback: "/auth/callback" },
    }),
  );
}
app.get("/page", (request, response) => response.type("text/plain").send("hello"));
app.get("/api", async (request, response) => {
  let token = request.oidc.accessToken;
  if (token.isExpired()) token = await token.refresh();
  const answer = await fetch(`${API_URL}/user/info`, { headers: { authorization: `Bearer ${token.access_token}` } });
  response.status(answer.status).end();
});
app.listen(Number(PORT), "127.0.0.1");
