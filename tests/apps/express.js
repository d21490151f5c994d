// A small Express application; the port is the only argument.
const crypto = require("crypto");
const express = require("express");

const app = express();
app.set("trust proxy", "loopback");

app.get("/", (request, response) => response.send("hello from express\n"));

// The request as the application sees it, behind a proxy.
app.get("/seen", (request, response) => {
  response.json({ ip: request.ip, host: request.hostname, protocol: request.protocol, headers: request.headers });
});

app.post("/json", express.json(), (request, response) => response.json(request.body));

app.post("/upload", (request, response) => {
  const digest = crypto.createHash("sha256");
  let length = 0;
  request.on("data", (chunk) => {
    digest.update(chunk);
    length += chunk.length;
  });
  request.on("end", () => response.send(`${length} ${digest.digest("hex")}`));
});

// Server-sent events: each must reach the client when it is sent, not when the response ends.
app.get("/events", (request, response) => {
  response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no" });
  let count = 0;
  const timer = setInterval(() => {
    response.write(`data: ${count}\n\n`);
    if (++count === 3) {
      clearInterval(timer);
      response.end();
    }
  }, 20);
  request.on("close", () => clearInterval(timer));
});

app.get("/cookies", (request, response) => response.cookie("a", "1").cookie("b", "2", { path: "/x" }).send("set"));
app.get("/redirect", (request, response) => response.redirect("/elsewhere"));

app.listen(Number(process.argv[2]), "127.0.0.1");
