use proptest::prelude::*;

use crate::{
    Decoder, FrameHead, Kind, Misfit, Of, Stop, flag, huffman, put_field, put_head, put_status, unpadded,
    unprefixed,
};

fn decode(block: &[u8]) -> Result<Vec<(String, String)>, Stop> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Decoder::default().decode(block, 1 << 16, &mut Vec::new(), |name, value| {
        fields.push((text(name), text(value)));
        true
    })?;
    Ok(fields)
}

/// RFC 7541, C.4: three heads, each with what the one before left behind.
#[test]
fn examples() {
    let mut decoder = Decoder::default();
    let mut read = |block: &[u8]| {
        let mut text = String::new();
        let read = decoder.decode(block, 100, &mut Vec::new(), |name, value| {
            text += &format!("{}={};", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            true
        });
        assert_eq!(read, Ok(()));
        text
    };
    let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    assert_eq!(read(first), ":method=GET;:scheme=http;:path=/;:authority=www.example.com;");
    let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
    let shown = ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;";
    assert_eq!(read(second), shown);
    let third =
        b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
    let shown =
        ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;custom-key=custom-value;";
    assert_eq!(read(third), shown);
}

#[test]
fn limits() {
    assert_eq!(decode(b"\x80"), Err(Stop::Number(0)));
    assert_eq!(decode(b"\xbe"), Err(Stop::Number(62)));
    assert_eq!(decode(b"\xff\xff\xff\xff\xff\xff\x01"), Err(Stop::Endless(Of::Table)));
    assert_eq!(decode(b"\0\x01a\x7f\xff\xff\xff\xff\x01"), Err(Stop::Endless(Of::Value)));
    assert_eq!(decode(b"\x82\x20"), Err(Stop::Size(0)));
    assert_eq!(decode(b"\x3f\xe2\x1f"), Err(Stop::Size(4097)));
    assert_eq!(decode(b"\0\x81\0\0"), Err(Stop::Packed));
    assert_eq!(decode(b"\0\x01a\x02b"), Err(Stop::Cut));
    assert_eq!(decode(b"\0\x01a"), Err(Stop::Short));
    let without = |block| Decoder::without_memory().decode(block, 9, &mut Vec::new(), |_, _| true);
    assert_eq!(without(b"\x20\x40\x01a\x01b\xbe"), Err(Stop::Number(62)));
    assert_eq!(without(b"\x21"), Err(Stop::Size(1)));
    let long = Decoder::default().decode(b"\0\x01a\x05bbbbb", 4, &mut Vec::new(), |_, _| true);
    assert_eq!(long, Err(Stop::TooLong(Of::Value, 5)));
    let enough = Decoder::default().decode(b"\x82\x84", 4, &mut Vec::new(), |_, _| false);
    assert_eq!(enough, Err(Stop::Enough));
}

#[test]
fn frames() {
    let mut out = Vec::new();
    put_head(5, Kind::Headers, flag::END_HEADERS, 7, &mut out);
    let head = FrameHead { length: 5, kind: Kind::Headers, number: 1, flags: flag::END_HEADERS, stream: 7 };
    assert_eq!(FrameHead::read(&out), Some(head));
    assert_eq!(FrameHead::read(&out[..8]), None);
    assert_eq!(unpadded(b"\x02abc", flag::PADDED), Ok(&b"a"[..]));
    assert_eq!(unpadded(b"\x04abc", flag::PADDED), Err(Misfit::Padding(4, 3)));
    assert_eq!(unpadded(b"", flag::PADDED), Err(Misfit::Short));
    assert_eq!(unpadded(b"\x02abc", 0), Ok(&b"\x02abc"[..]));
    let both = flag::PADDED | flag::PRIORITY;
    assert_eq!(unprefixed(b"\x0112345ab", both), Ok((&b"a"[..], &b"12345"[..])));
    assert_eq!(unprefixed(b"\x0312345ab", both), Err(Misfit::Padding(3, 2)));
    assert_eq!(unprefixed(b"\x011234", both), Err(Misfit::Short));
}

proptest! {
    #[test]
    fn texts_come_back(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut packed = Vec::new();
        huffman::encode(&text, &mut packed);
        prop_assert_eq!(packed.len(), huffman::length(&text));
        let mut back = Vec::new();
        prop_assert_eq!(huffman::decode(&packed, &mut back), Some(()));
        prop_assert_eq!(back, text);
    }
    #[test]
    fn fields_come_back(name in "[a-z-]{1,80}", value in "[ -~]{0,300}", status in 100u16..600) {
        let mut block = Vec::new();
        put_status(status, &mut block);
        put_field(name.to_uppercase().as_bytes(), value.as_bytes(), &mut block);
        let fields = decode(&block);
        prop_assert_eq!(fields, Ok(vec![(":status".into(), status.to_string()), (name, value)]));
    }
    #[test]
    fn anything_is_read_or_refused(block in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&block);
    }
}
