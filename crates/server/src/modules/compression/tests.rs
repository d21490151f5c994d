use std::io::Read;

use ::brotli::Decompressor;
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::*;

/// A coding and what reads it: the reader may stop where the stream was flushed.
trait Readable: Coding {
    fn reader<'a>(packed: &'a [u8]) -> Box<dyn Read + 'a>;
}
impl Readable for gzip::Gzip {
    fn reader<'a>(packed: &'a [u8]) -> Box<dyn Read + 'a> {
        Box::new(MultiGzDecoder::new(packed))
    }
}
impl Readable for brotli::Brotli {
    fn reader<'a>(packed: &'a [u8]) -> Box<dyn Read + 'a> {
        Box::new(Decompressor::new(packed, 4096))
    }
}
impl Readable for zstd::Zstd {
    fn reader<'a>(packed: &'a [u8]) -> Box<dyn Read + 'a> {
        Box::new(::zstd::stream::read::Decoder::new(packed).expect("a decoder"))
    }
}

fn unpacked<C: Readable>(packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    C::reader(packed).read_to_end(&mut text).expect("a complete stream");
    text
}

fn what_goes_in_comes_out<C: Readable>(coding: &C, pieces: &[Vec<u8>], flush: bool, length_known: bool) {
    let text = pieces.concat();
    let mut stream = coding.stream(length_known.then_some(text.len() as u64)).expect("a stream");
    let mut out = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        stream.run(piece, if flush { Until::Flushed } else { Until::Taken }, &mut out).expect("memory");
        if flush {
            let mut so_far = vec![0; pieces[..=i].concat().len()];
            C::reader(&out).read_exact(&mut so_far).expect("all that was flushed");
            assert!(text.starts_with(&so_far));
        }
    }
    stream.run(b"", Until::Finished, &mut out).expect("memory");
    drop(stream);
    assert!(unpacked::<C>(&out) == text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_in_any_pieces(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6),
                              level in 0_usize..12, flush: bool, length_known: bool) {
        let gzip = gzip::Gzip { level: [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9][level] };
        what_goes_in_comes_out(&gzip, &pieces, flush, length_known);
        let brotli = brotli::Brotli { level: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][level], window_bits: 10 + level as u8 };
        what_goes_in_comes_out(&brotli, &pieces, flush, length_known);
        let zstd = zstd::Zstd { level: [-9, -1, 1, 2, 3, 4, 6, 9, 12, 15, 19, 22][level], dictionary: None };
        what_goes_in_comes_out(&zstd, &pieces, flush, length_known);
    }
}

/// A stream that is left midway is taken up by the next response: it starts anew.
#[test]
fn one_that_was_left_midway_starts_anew() {
    let gzip = gzip::Gzip { level: 3 };
    gzip.stream(None).unwrap().run(&[7; 5000], Until::Taken, &mut Vec::new()).unwrap();
    what_goes_in_comes_out(&gzip, &[b"hello".to_vec()], false, false);
}

#[test]
fn a_flush_makes_everything_readable() {
    let text = vec![vec![b'x'; 100_000], b"and more".to_vec()];
    what_goes_in_comes_out(&gzip::Gzip { level: 1 }, &text, true, false);
    what_goes_in_comes_out(&brotli::Brotli { level: 6, window_bits: 19 }, &text, true, false);
    what_goes_in_comes_out(&zstd::Zstd { level: 1, dictionary: None }, &text, true, true);
}

/// Small windows cost twenty times as much at some levels of the library: 5.8 ms for a page of 4 KB.
#[test]
fn windows_of_brotli_fit_the_body_and_the_library() {
    for ((level, window_bits), length, expected) in [
        ((4, 19), 0, (4, 19)),
        ((4, 19), 1024, (4, 10)),
        ((4, 19), 1025, (4, 11)),
        ((4, 19), 1 << 30, (4, 19)),
        ((4, 10), 5000, (4, 10)),
        ((5, 19), 1024, (5, 17)),
        ((8, 10), 0, (7, 17)),
        ((9, 19), 1024, (7, 17)),
        ((9, 19), 1 << 17, (9, 17)),
        ((6, 24), 1 << 18, (6, 18)),
        ((10, 19), 1024, (10, 10)),
    ] {
        let fitting = brotli::Brotli { level, window_bits }.fitting(length);
        assert_eq!(fitting, expected, "level {level}, {window_bits} bits, {length} bytes");
    }
}

/// Browsers refuse zstd with a window of more than 8 MB (RFC 9659), whatever the level.
#[test]
fn no_window_is_larger_than_clients_have_to_take() {
    let (mut state, mut out) = (1_u64, Vec::new());
    let mut stream = zstd::Zstd { level: 22, dictionary: None }.stream(None).unwrap();
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1 << 16)
    .collect();
    stream.run(&noise, Until::Finished, &mut out).unwrap();
    let mut decoder = ::zstd::stream::read::Decoder::new(&out[..]).unwrap();
    decoder.window_log_max(23).unwrap();
    let mut text = Vec::new();
    decoder.read_to_end(&mut text).expect("a window that fits");
    assert!(text == noise);
}
