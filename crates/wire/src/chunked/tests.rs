//! Tests of chunked: tables of what nginx does, and properties.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

type Decoded = Result<Option<(Vec<u8>, Vec<u8>, usize)>, BadChunk>;

/// Decodes pieces of the given sizes: the body, the trailers, and what is left over.
fn decode(text: &[u8], mut cut: impl FnMut() -> usize) -> Decoded {
    let mut decoder = Decoder::with_trailers(64);
    let (mut body, mut at, mut end) = (Vec::new(), 0, 0);
    loop {
        end = text.len().min(end + cut());
        while at < end {
            match decoder.decode(&text[at..end])? {
                Step::Data(range) => {
                    body.extend_from_slice(&text[at..end][range.clone()]);
                    at += range.end;
                }
                Step::More { consumed } => at += consumed,
                Step::Done { consumed } => {
                    return Ok(Some((body, decoder.trailers().to_vec(), at + consumed)));
                }
            }
        }
        if end == text.len() {
            return Ok(None);
        }
    }
}

fn whole(text: &[u8]) -> Decoded {
    decode(text, || usize::MAX / 2)
}

#[test]
fn bodies_nginx_takes() {
    for text in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5;ext\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n00;x\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "0000000000000000000005\r\nhello\r\n0\r\n\r\n",
    ] {
        let (body, trailers, used) = whole(text.as_bytes()).unwrap().unwrap();
        assert_eq!((&body[..], &trailers[..], used), (&b"hello"[..], &b""[..], text.len()), "{text:?}");
    }
}

/// The last five were taken by nginx until 1.29.4.
#[test]
fn bodies_nginx_refuses() {
    for text in [
        "0x5\r\n",
        "5x\r\n",
        "\r\n5\r\n",
        " 5\r\n",
        "-5\r\n",
        "g\r\n",
        "5\r\nhellox\r\n",
        "5\r\r\nhello",
        "5;a\rb\r\n",
        "0\r\n\rX",
        "0\r\nT:1\rX",
        "5\r\nhello0\r\n",
        "5\r\nhello\r0\r\n",
        "5\rhello\r\n",
        ";\r\n",
        "\n",
        "5\nhello",
        "5\r\nhello\n0\r\n",
        "5;a\nhello",
        "0\n\n",
        "0\r\nT: 1\n\n",
    ] {
        assert_eq!(whole(text.as_bytes()), Err(BadChunk::Invalid), "{text:?}");
    }
    for size in ["7fffffffffffffff", "8000000000000000", "ffffffffffffffff", "fffffffffffffffff"] {
        assert_eq!(whole(format!("{size}\r\n").as_bytes()), Err(BadChunk::Overflow), "{size}");
    }
    assert_eq!(whole(b"7ffffffffffffffa\r\n"), Ok(None));
}

#[test]
fn trailers_are_kept_if_wanted() {
    let text = b"0\r\nT: 1\r\nU: 2\r\n\r\nrest";
    let (_, trailers, used) = whole(text).unwrap().unwrap();
    assert_eq!((&trailers[..], &text[used..]), (&b"T: 1\r\nU: 2\r\n"[..], &b"rest"[..]));
    let mut headers = crate::Headers::default();
    assert_eq!(crate::parse_fields(&trailers, &mut headers), Ok(()));
    assert_eq!(headers[1].value.of(&trailers), b"2");

    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(text), Ok(Step::Done { consumed: text.len() - 4 }));
    assert!(decoder.trailers().is_empty() && decoder.is_done());

    let long = format!("0\r\nT: {}\r\n\r\n", "x".repeat(64));
    assert_eq!(whole(long.as_bytes()), Err(BadChunk::LongTrailers));
}

#[test]
fn framing_out_of_proportion_is_refused() {
    let extension = format!("1;{}\r\nx\r\n", "e".repeat(1000));
    assert_eq!(whole(extension.repeat(100).as_bytes()), Err(BadChunk::Excess));
    assert_eq!(
        whole(format!("0\r\nT: {}", "x".repeat(20_000)).as_bytes()).unwrap_err(),
        BadChunk::LongTrailers
    );
    assert_eq!(
        Decoder::new().decode(format!("0\r\nT: {}", "x".repeat(20_000)).as_bytes()),
        Err(BadChunk::Excess)
    );
    let honest = "1\r\nx\r\n".repeat(50_000);
    assert_eq!(whole(honest.as_bytes()), Ok(None));
}

#[test]
fn chunk_headers() {
    for (length, want) in [(1, &b"1\r\n"[..]), (26, b"1a\r\n"), (u64::MAX, b"ffffffffffffffff\r\n")] {
        assert_eq!(encode_chunk_header(length, &mut [0; 18]), want);
    }
}

fn encode(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for chunk in chunks {
        text.extend_from_slice(encode_chunk_header(chunk.len() as u64, &mut [0; 18]));
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(LAST_CHUNK);
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_encoded_is_decoded(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in prop::collection::vec(1usize..30, 1..6),
    ) {
        let text = encode(&chunks);
        let mut cycle = cuts.iter().cycle();
        let (body, _, used) = decode(&text, || *cycle.next().unwrap()).unwrap().unwrap();
        prop_assert_eq!((body, used), (chunks.concat(), text.len()));
    }

    #[test]
    fn cuts_change_nothing(text in "[0-9a-f;\r\n x]{0,40}|([0-3]\r\n|x|\r\n|0\r\n\r\n){0,12}", cut in 1usize..5) {
        prop_assert_eq!(whole(text.as_bytes()), decode(text.as_bytes(), || cut));
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = whole(&text);
    }
}
