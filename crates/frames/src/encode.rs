//! Fields into compressed heads. Nothing is added to the reader's table: no head depends on another.

use crate::huffman;

/// Appends a status; where the table has none for it, its digits.
pub fn put_status(status: u16, out: &mut Vec<u8>) {
    let number = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => 0,
    };
    if number > 0 {
        return put_whole(number, out);
    }
    let digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    put_known(8, &digits, out);
}

/// Appends a field that has this number itself.
pub fn put_whole(number: u8, out: &mut Vec<u8>) {
    out.push(0x80 | number);
}

/// Appends a field whose name has this number.
pub fn put_known(number: usize, value: &[u8], out: &mut Vec<u8>) {
    put_number(0, 4, number, out);
    put_text(value, out);
}

/// Appends a field. Names have no upper case here, whatever they had before.
pub fn put_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let mut short = [0; 64];
    let long;
    let lower = match short.get_mut(..name.len()) {
        Some(short) => {
            short.copy_from_slice(name);
            short.make_ascii_lowercase();
            &*short
        }
        None => {
            long = name.to_ascii_lowercase();
            &*long
        }
    };
    match number_of(lower) {
        Some(number) => put_number(0, 4, number, out),
        None => {
            out.push(0);
            put_text(lower, out);
        }
    }
    put_text(value, out);
}

/// Says that the reader's table needs no room.
pub fn put_table_update(out: &mut Vec<u8>) {
    out.push(0x20);
}

/// What answers usually have.
fn number_of(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-range" => 30,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"www-authenticate" => 61,
        _ => return None,
    })
}

/// A text as it is, unless Huffman's code makes it shorter.
fn put_text(text: &[u8], out: &mut Vec<u8>) {
    let packed = huffman::length(text);
    if packed < text.len() {
        put_number(0x80, 7, packed, out);
        huffman::encode(text, out);
    } else {
        put_number(0, 7, text.len(), out);
        out.extend_from_slice(text);
    }
}

fn put_number(first: u8, bits: u32, number: usize, out: &mut Vec<u8>) {
    let most = (1usize << bits) - 1;
    if number < most {
        return out.push(first | number as u8);
    }
    out.push(first | most as u8);
    let mut rest = number - most;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
