//! Answers of origins: as they should be, as they are, and as they never should be.

/// `packed one text` and a line's end, as gzip has it.
pub const GZIPPED: &[u8] =
    b"\x1f\x8b\x08\0\0\0\0\0\x02\x03+HL\xceNMQ\xc8\xcfKU(I\xad(\xe1\x02\0\x88\xe3h\xa7\x10\0\0\0";

/// The answer and whether the connection ends with it.
pub fn answer(what: &str) -> Option<(Vec<u8>, bool)> {
    let kept = usual(what).or_else(|| redirects(what)).map(|text| (text.as_bytes().to_vec(), false));
    kept.or_else(|| broken(what)).or_else(|| made(what))
}

fn usual(what: &str) -> Option<&'static str> {
    Some(match what {
        "ok" => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\none text",
        "chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n7\r\n second\r\n0\r\n\r\n"
        }
        "trailer" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\nX-T: t\r\n\r\n",
        "chunkext" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\none\r\n0;z\r\n\r\n",
        "empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Origin: empty\r\n\r\n",
        "304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        "204" => "HTTP/1.1 204 No Content\r\n\r\n",
        "401" => "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=\"o\"\r\nContent-Length: 3\r\n\r\nwho",
        "403" => "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
        "404" => "HTTP/1.1 404 Nope\r\nContent-Length: 4\r\n\r\nnope",
        "429" => "HTTP/1.1 429 Slow\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nslow",
        "500" => "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\noh",
        "503" => "HTTP/1.1 503 Later\r\nContent-Length: 5\r\n\r\nlater",
        "504" => "HTTP/1.1 504 Late\r\nContent-Length: 4\r\n\r\nlate",
        "cookie" => {
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Domain=origin.example; Path=/x\r\nContent-Length: 2\r\n\r\nok"
        }
        "cookies" => {
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; path=/; domain=.a.example; Secure; SameSite=None\r\nSet-Cookie: c\r\n\
            Set-Cookie: e=f;HttpOnly;PATH=/x/y\r\nContent-Length: 2\r\n\r\nok"
        }
        "headers" => {
            "HTTP/1.1 200 OK\r\nX-Origin: a\r\nX-Origin: b\r\nServer: s/1\r\nContent-Type: text/html\r\n\
            Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nETag: \"x\"\r\nCache-Control: no-cache\r\nContent-Length: 8\r\n\r\none text"
        }
        "status" => "HTTP/1.1 299 Odd One\r\nContent-Length: 2\r\n\r\nok",
        "noreason" => "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        "range" => {
            "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nETag: \"x\"\r\nContent-Length: 10\r\n\r\n0123456789"
        }
        "10keep" => "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "lf" => "HTTP/1.1 200 OK\nX-Origin: lf\nContent-Length: 2\n\nok",
        "ssi" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 44\r\n\r\none <!--#echo var=\"uri\" default=\"none\" --> xx"
        }
        "koi" => {
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 8\r\n\r\none \u{44e} xx"
        }
        "accelcharset" => {
            "HTTP/1.1 200 OK\r\nX-Accel-Charset: koi8-r\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"
        }
        "accelbuffering" => "HTTP/1.1 200 OK\r\nX-Accel-Buffering: no\r\nContent-Length: 2\r\n\r\nok",
        "accelbad" => {
            "HTTP/1.1 200 OK\r\nX-Accel-Buffering: maybe\r\nX-Accel-Limit-Rate: x\r\nContent-Length: 2\r\n\r\nok"
        }
        "twotypes" => {
            "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\n\r\nok"
        }
        "link" => {
            "HTTP/1.1 200 OK\r\nLink: </a>; rel=preload\r\nLink: </b>\r\nVary: X\r\nVary: Y\r\nContent-Length: 2\r\n\r\nok"
        }
        "100" => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "102" => {
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        }
        "103" => {
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        }
        _ => return None,
    })
}

fn redirects(what: &str) -> Option<&'static str> {
    Some(match what {
        "redirect" => "HTTP/1.1 302 Found\r\nLocation: http://origin.example/x\r\nContent-Length: 0\r\n\r\n",
        "redirect2" => {
            "HTTP/1.1 301 Moved\r\nLocation: /x?y\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nhop"
        }
        "refresh" => {
            "HTTP/1.1 200 OK\r\nRefresh: 5; url=http://origin.example/y\r\nContent-Length: 2\r\n\r\nok"
        }
        "local" => "HTTP/1.1 200 OK\r\nLocation: /found.txt\r\nContent-Length: 2\r\n\r\nok",
        "accel" => "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /found.txt?y\r\nContent-Length: 0\r\n\r\n",
        "accel404" => "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /nothing\r\nContent-Length: 0\r\n\r\n",
        "accelnamed" => {
            "HTTP/1.1 404 No\r\nX-Accel-Redirect: @named\r\nContent-Type: a/b\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        }
        "accelinner" => {
            "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /inner/x.html\r\nContent-Type: a/b\r\nContent-Disposition: x\r\n\
            ETag: \"o\"\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
        }
        "accelloop" => "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /b/o/accelloop\r\nContent-Length: 0\r\n\r\n",
        "acceldots" => "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /a/../../x\r\nContent-Length: 0\r\n\r\n",
        "accelargs" => "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /a%20b/?x=%20#f\r\nContent-Length: 0\r\n\r\n",
        _ => return None,
    })
}

/// What ends the connection.
fn broken(what: &str) -> Option<(Vec<u8>, bool)> {
    let text: &str = match what {
        "close" => "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\none text until the end",
        "none" => "",
        "garbage" => "rubbish\r\n\r\nmore",
        "short" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!",
        "long" => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nthree and more",
        "two" => {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
        }
        "cutchunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n7\r\n sec",
        "badchunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nfirst\r\n0\r\n\r\n",
        "badchunk2" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfirst\r\n0\r\n\r\n",
        "longchunk" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nfirst\r\n0\r\n\r\n"
        }
        "chunkmore" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
        "100only" => "HTTP/1.1 100 Continue\r\n\r\n",
        "badheader" => "HTTP/1.1 200 OK\r\nX-Origin\r\nContent-Length: 2\r\n\r\nok",
        "nulheader" => "HTTP/1.1 200 OK\r\nX-Origin: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "spaceheader" => "HTTP/1.1 200 OK\r\nX Origin : a\r\nContent-Length: 2\r\n\r\nok",
        "folded" => "HTTP/1.1 200 OK\r\nX-Origin: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "noheader" => "\r\nbody",
        "09" => "just a text",
        "10" => "HTTP/1.0 200 OK\r\nX-Origin: ten\r\n\r\nten",
        "badstatus" => "HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok",
        "badversion" => "HTTP/9 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "twolengths" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "samelengths" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "badlength" => "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        "lengthchunked" => {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        }
        "tegzip" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "101" => "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfrom the origin",
        "204body" => "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok",
        "304body" => "HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\nok",
        "headbody" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        _ => return None,
    };
    Some((text.as_bytes().to_vec(), true))
}

/// What is put together.
fn made(what: &str) -> Option<(Vec<u8>, bool)> {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\none text";
    if let Some(end) = what.strip_prefix("part").and_then(|n| n.parse::<usize>().ok()) {
        return Some((whole.as_bytes()[..end.min(whole.len())].to_vec(), true));
    }
    let head =
        |fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}\r\n").into_bytes();
    let lines = "one line of text\n".repeat(6000).into_bytes();
    Some(match what {
        "big" => ([head(&format!("Content-Length: {}\r\n", lines.len())), lines].concat(), false),
        "bigchunked" => {
            let size = format!("{:x}\r\n", lines.len()).into_bytes();
            ([head("Transfer-Encoding: chunked\r\n"), size, lines, b"\r\n0\r\n\r\n".to_vec()].concat(), false)
        }
        "bigheader" => (head(&format!("X-Origin: {}\r\nContent-Length: 0\r\n", "x".repeat(70_000))), true),
        "gzipped" => {
            let fields =
                format!("Content-Encoding: gzip\r\nETag: \"z\"\r\nContent-Length: {}\r\n", GZIPPED.len());
            ([head(&fields), GZIPPED.to_vec()].concat(), false)
        }
        "gzchunked" => {
            let size = format!("{:x}\r\n", GZIPPED.len()).into_bytes();
            let fields = "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n";
            ([head(fields), size, GZIPPED.to_vec(), b"\r\n0\r\n\r\n".to_vec()].concat(), false)
        }
        _ => return None,
    })
}
