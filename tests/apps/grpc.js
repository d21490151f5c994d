// A server of HTTP/2 with the framing and the trailers of gRPC; arguments: the port, and for TLS the files of key and
// certificate.
const fs = require("fs");
const http2 = require("http2");

const [port, key, certificate] = process.argv.slice(2);
const server = key
  ? http2.createSecureServer({ key: fs.readFileSync(key), cert: fs.readFileSync(certificate) })
  : http2.createServer();
let sessions = 0;
server.on("session", (session) => {
  session.number = ++sessions;
  session.on("error", () => {});
});

const head = { ":status": 200, "content-type": "application/grpc", "x-up": "1" };

// Answers with `body`, and trailers behind it.
function answer(stream, body) {
  stream.respond(head, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-length": String(body.length) }));
  stream.end(body);
}

const paths = {
  "/test.Echo/Unary": (stream) => {
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => answer(stream, Buffer.concat(parts)));
  },
  // Each part as it comes.
  "/test.Echo/Both": (stream) => {
    stream.respond(head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.pipe(stream);
  },
  "/test.Echo/Unknown": (stream) => stream.respond({ ...head, "grpc-status": "12" }, { endStream: true }),
  "/fields": (stream, fields) => {
    const lines = Object.keys(fields).sort().map((name) => `${name}: ${fields[name]}\n`);
    answer(stream, Buffer.from(lines.join("")));
  },
  "/session": (stream) => answer(stream, Buffer.from(`${stream.session.number} ${stream.id}`)),
  "/large": (stream) => answer(stream, Buffer.alloc(2000000, "large ")),
  "/status": (stream) => stream.respond({ ":status": 503, "x-accel-redirect": "/elsewhere" }, { endStream: true }),
  "/reset": (stream) => stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM),
  "/broken": (stream) => {
    stream.respond(head);
    stream.write("some", () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
  },
  "/silent": () => {},
};
server.on("stream", (stream, fields) => {
  stream.on("error", () => {});
  const serve = paths[fields[":path"].split("?")[0]];
  if (serve) serve(stream, fields);
  else answer(stream, Buffer.from(fields[":path"]));
});
server.listen(Number(port), "127.0.0.1");
