//! Answers that may be kept.

/// The answer and whether the connection ends with it. An old answer that is still right is not sent again.
pub fn answer(what: &str, if_none_match: Option<&str>) -> Option<(Vec<u8>, bool)> {
    let fields = match what {
        "fresh" => {
            "Cache-Control: max-age=3600\r\nETag: \"fresh\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        }
        "stale" => {
            "X-Accel-Expires: @1\r\nETag: \"stale\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        }
        "plainold" => "X-Accel-Expires: @1\r\n",
        "staleerror" => "X-Accel-Expires: @1\r\nCache-Control: stale-if-error=9999999999\r\n",
        "swr" => "Cache-Control: stale-while-revalidate=9999999999\r\nX-Accel-Expires: @1\r\n",
        "private" => "Cache-Control: private, max-age=3600\r\n",
        "nostore" => "Cache-Control: max-age=3600, no-store\r\n",
        "nocache" => "Cache-Control: no-cache\r\n",
        "maxage0" => "Cache-Control: max-age=0\r\n",
        "smaxage" => "Cache-Control: max-age=0, s-maxage=3600\r\n",
        "vary" => "Cache-Control: max-age=3600\r\nVary: Accept-Encoding, Accept-Language\r\n",
        "varystar" => "Cache-Control: max-age=3600\r\nVary: *\r\n",
        "setcookie" => "Cache-Control: max-age=3600\r\nSet-Cookie: a=b\r\n",
        "past" => "Expires: Thu, 01 Jan 2015 00:00:00 GMT\r\n",
        "future" => "Expires: Thu, 01 Jan 2099 00:00:00 GMT\r\n",
        "accelexpires" => "X-Accel-Expires: 3600\r\nCache-Control: no-cache\r\n",
        "accelexpires0" => "Cache-Control: max-age=3600\r\nX-Accel-Expires: 0\r\n",
        "accelexpiresbad" => "X-Accel-Expires: x\r\nCache-Control: max-age=3600\r\n",
        _ => return None,
    };
    if if_none_match.is_some_and(|tag| tag.trim_matches('"') == what) {
        return Some((format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes(), false));
    }
    let text =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}Content-Length: 8\r\n\r\none text");
    Some((text.into_bytes(), false))
}
