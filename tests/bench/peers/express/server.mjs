// A sign-in before a service, as a Node project would build it: express-openid-connect and http-proxy-middleware.
import express from "express";
import openid from "express-openid-connect";
import { createProxyMiddleware } from "http-proxy-middleware";
import { Agent } from "node:http";

const { PORT, UPSTREAM, ISSUER, CLIENT_ID, CLIENT_SECRET, SECRET } = process.env;
const app = express();
app.use(
  openid.auth({
    baseURL: `http://127.0.0.1:${PORT}`,
    issuerBaseURL: ISSUER,
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    secret: SECRET,
    clientAuthMethod: "client_secret_post",
    authorizationParams: { response_type: "code", scope: "openid offline_access sign:requests" },
    routes: { callback: "/auth/callback" },
  }),
);
app.use(createProxyMiddleware({ target: UPSTREAM, agent: new Agent({ keepAlive: true }) }));
app.listen(Number(PORT), "127.0.0.1");
