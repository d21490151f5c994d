//! Parts of films: every byte is as nginx has it.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use testkit::{Server, on_both};

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
fn boxed(name: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let data = parts.concat();
    [&numbers(&[data.len() as u32 + 8])[..], name.as_bytes(), &data].concat()
}
/// A table: its count stands before its rows.
fn table(name: &str, fixed: &[u32], width: usize, rows: &[u32]) -> Vec<u8> {
    boxed(name, &[numbers(fixed), numbers(&[(rows.len() / width) as u32]), numbers(rows)])
}
/// Version, two dates, time scale and duration, and zeros behind them.
fn clock(name: &str, scale: u32, duration: u32, size: usize) -> Vec<u8> {
    let mut data = numbers(&[0, 1, 2, scale, duration]);
    data.resize(size, 0);
    boxed(name, &[data])
}
fn track(scale: u32, duration: u32, shown: &str, tables: &[Vec<u8>]) -> Vec<u8> {
    let tables = [&[boxed("stsd", &[vec![0; 16]])], tables].concat();
    let info = [boxed(shown, &[vec![0; 12]]), boxed("dinf", &[vec![0; 8]]), boxed("stbl", &tables)];
    let media =
        [clock("mdhd", scale, duration * scale, 24), boxed("hdlr", &[vec![1; 25]]), boxed("minf", &info)];
    let header = [numbers(&[7, 1, 2, 1, 0, duration * 600]), vec![0; 60]];
    boxed("trak", &[boxed("tkhd", &header), boxed("edts", &[vec![0; 20]]), boxed("mdia", &media)])
}

/// Ten seconds: pictures in chunks of 7, 7, 7, 7, 7 and 5, sound in chunks of 4 samples that are all of one size.
/// `base` is where the data begins.
fn movie(base: u32, wide: bool) -> Vec<u8> {
    let sizes: Vec<u32> = (0..40).map(|sample| 20 + sample * 3 % 17).collect();
    let mut places = Vec::new();
    let mut at = base;
    for chunk in sizes.chunks(7) {
        places.push(at);
        // The sound's chunk stands between the pictures'.
        at += chunk.iter().sum::<u32>() + 80;
    }
    let sound: Vec<u32> =
        places.iter().zip(sizes.chunks(7)).map(|(at, chunk)| at + chunk.iter().sum::<u32>()).collect();
    let offsets = |places: &[u32]| match wide {
        true => {
            let rows: Vec<u32> = places.iter().flat_map(|place| [0, *place]).collect();
            table("co64", &[0], 2, &rows)
        }
        false => table("stco", &[0], 1, places),
    };
    let picture = [
        table("stts", &[0], 2, &[13, 250, 7, 200, 20, 267]),
        table("stss", &[0], 1, &[1, 9, 21, 33]),
        table("ctts", &[0], 2, &[3, 10, 20, 30, 17, 5]),
        table("stsc", &[0], 3, &[1, 7, 1, 6, 5, 1]),
        table("stsz", &[0, 0], 1, &sizes),
        offsets(&places),
    ];
    let samples = [
        table("stts", &[0], 2, &[24, 400]),
        table("stsc", &[0], 3, &[1, 4, 1]),
        table("stsz", &[0, 0], 1, &[20; 24]),
        offsets(&sound),
    ];
    let tracks = [
        clock("mvhd", 600, 6000, 100),
        track(1000, 10, "vmhd", &picture),
        track(1000, 10, "smhd", &samples),
        boxed("udta", &[vec![9; 30]]),
    ];
    boxed("moov", &tracks)
}
fn data() -> Vec<u8> {
    let bytes = (0..2000_u32).map(|at| (at * 7 % 251) as u8).collect();
    boxed("mdat", &[bytes])
}

fn films(server: &Server) {
    let kind = boxed("ftyp", &[b"isom\0\0\0\x01isom".to_vec()]);
    let before = (kind.len() + 8) as u32;
    for wide in [false, true] {
        let size = movie(0, wide).len() as u32;
        let name = if wide { "wide" } else { "narrow" };
        let first = [kind.clone(), movie(before + size, wide), data()].concat();
        server.write(&format!("html/{name}.mp4"), first);
        let last = [kind.clone(), data(), boxed("free", &[]), movie(before, wide)].concat();
        server.write(&format!("html/{name}-last.mp4"), last);
    }
}

#[test]
fn parts_are_the_same_to_the_byte() {
    let all = Mutex::new(Vec::new());
    on_both("location / { mp4; } location /key/ { alias html/; mp4; mp4_start_key_frame on; }", |server| {
        films(server);
        let mut answers = Vec::new();
        for place in ["", "key/"] {
            for film in ["narrow", "wide", "narrow-last", "wide-last"] {
                for times in [
                    "",
                    "?start=0",
                    "?start=x",
                    "?end=0",
                    "?start=1",
                    "?start=2.5&end=2.6",
                    "?start=2.123456&end=5.5",
                    "?start=3.3&end=3",
                    "?end=4",
                    "?end=40",
                    "?start=0.3&end=0.9",
                    "?start=5&end=9.4",
                    "?start=9.3",
                    "?start=9.8",
                    "?start=11",
                ] {
                    let path = format!("/{place}{film}.mp4{times}");
                    let answer = server.get(&path);
                    let length = answer.header("content-length").map(str::to_owned);
                    // The page of an error names the server.
                    let film = (answer.status == 200).then_some((length, answer.body));
                    answers.push((path, answer.status, film));
                }
            }
        }
        assert!(answers.iter().filter(|answer| answer.1 == 200).count() > 80);
        all.lock().expect("the list").push(answers);
    });
    let all = all.into_inner().expect("the list");
    for other in all.iter().skip(1) {
        for (one, other) in all[0].iter().zip(other) {
            assert_eq!(one, other);
        }
    }
}

#[test]
fn what_is_no_film() {
    on_both("location / { mp4; mp4_buffer_size 1k; mp4_max_buffer_size 1k; }", |server| {
        films(server);
        let start = boxed("ftyp", &[b"isom".to_vec()]);
        server.write("html/text.mp4", "this is no film at all");
        server.write("html/short.mp4", numbers(&[4, 0]));
        server.write("html/none.mp4", start.clone());
        let packed = [data(), boxed("moov", &[boxed("cmov", &[])])];
        server.write("html/packed.mp4", packed.concat());
        server.write("html/large.mp4", [data(), boxed("moov", &[vec![0; 1100]])].concat());
        server.write("html/twice.mp4", [&start[..], &start].concat());
        for (path, line) in [
            ("/text.mp4", "text.mp4\" mp4 atom too large:1952999795"),
            ("/short.mp4", "short.mp4\" mp4 atom is too small:4"),
            ("/none.mp4", "no mp4 trak atoms were found in \""),
            ("/packed.mp4", "packed.mp4\" mp4 compressed moov atom (cmov) is not supported"),
            ("/large.mp4", "mp4 moov atom is too large:1100, you may want to increase mp4_max_buffer_size"),
            ("/twice.mp4", "duplicate mp4 ftyp atom in \""),
        ] {
            assert_eq!(server.get(&format!("{path}?start=1")).status, 500, "{path}");
            server.error_log().wait_for(line);
            assert_eq!(server.get(path).status, 200, "{path}");
        }
        assert_eq!(server.post("/text.mp4", "").status, 405);
        assert_eq!(server.get("/nothing.mp4?start=1").status, 404);
    });
}

#[test]
fn one_range_of_a_part() {
    on_both("location / { mp4; }", |server| {
        films(server);
        let whole = server.get("/narrow.mp4?start=2");
        let part = server.get_with("/narrow.mp4?start=2", &[("Range", "bytes=4-30")]);
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[4..31]));
        let two = server.get_with("/narrow.mp4?start=2", &[("Range", "bytes=0-1,4-5")]);
        assert_eq!((two.status, two.body), (200, whole.body));
    });
}

/// Where the first box of this name has its name.
fn place(film: &[u8], name: &str) -> usize {
    film.windows(4).position(|four| four == name.as_bytes()).expect("a box of this name")
}

#[test]
fn what_is_wrong_with_a_film_is_told() {
    let many = u32::MAX;
    // The box, where in it which number is put, and what is said of it.
    let numbered = [
        ("mvhd", 16, 60, "mp4 start time exceeds file duration"),
        ("stts", 4, many, "mp4 stts atom too small"),
        ("stts", 4, 0, "start time is out mp4 stts samples in"),
        ("stss", 4, many, "mp4 stss atom too small"),
        ("ctts", 4, many, "mp4 ctts atom too small"),
        ("stsc", 4, many, "mp4 stsc atom too small"),
        ("stsc", 4, 0, "zero number of entries in stsc atom in"),
        ("stsc", 8, 7, "unordered mp4 stsc chunks in"),
        ("stsz", 8, many, "mp4 stsz atom too small"),
        ("stsz", 8, 2, "start time is out mp4 stsz samples in"),
        ("stsz", 8, 6, "end time is out mp4 stsz samples in"),
        ("stsz", 12, many, "too large mp4 start samples size in"),
        ("stco", 4, many, "mp4 stco atom too small"),
        ("stco", 8, many, "too large chunk offset in"),
    ];
    // The box, and the name that it has instead.
    let named = [
        ("mdat", "free", "no mp4 mdat atom was found in"),
        ("stts", "free", "no mp4 stts atoms were found in"),
        ("stsc", "free", "no mp4 stsc atoms were found in"),
        ("stco", "free", "no mp4 stco atoms were found in"),
        ("edts", "tkhd", "mp4 tkhd atom too small"),
        ("hdlr", "mdhd", "mp4 mdhd atom too small"),
        ("dinf", "vmhd", "duplicate mp4 vmhd/smhd atom in"),
        ("ctts", "stts", "duplicate mp4 stts atom in"),
        ("ctts", "co64", "duplicate mp4 stco/co64 atom in"),
    ];
    on_both("location / { mp4; }", |server| {
        let kind = boxed("ftyp", &[b"isom\0\0\0\x01isom".to_vec()]);
        let before = kind.len() as u32 + movie(0, false).len() as u32 + 8;
        let film = [kind, movie(before, false), data()].concat();
        let mut films = Vec::new();
        for (name, at, number, line) in numbered {
            let (mut film, at) = (film.clone(), place(&film, name) + 4 + at);
            film[at..at + 4].copy_from_slice(&number.to_be_bytes());
            films.push((film, line));
        }
        for (name, other, line) in named {
            let (mut film, at) = (film.clone(), place(&film, name));
            film[at..at + 4].copy_from_slice(other.as_bytes());
            films.push((film, line));
        }
        // A box without a size is the last, not only of those around it.
        let mut ended = film.clone();
        let at = place(&film, "udta");
        ended[at - 4..at].fill(0);
        films.push((ended, "no mp4 mdat atom was found in"));
        for (i, (film, line)) in films.into_iter().enumerate() {
            server.write(&format!("html/{i}.mp4"), film);
            assert_eq!(server.get(&format!("/{i}.mp4?start=1&end=3")).status, 500, "{i} {line}");
            let log = server.error_log();
            let found = log.wait_for(&format!("/{i}.mp4?"));
            assert!(found.contains(line), "{line}: {found}");
        }
    });
}
