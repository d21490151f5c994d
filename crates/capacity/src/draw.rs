//! Bars and numbers for a terminal: readable without colour, at 80 columns.

/// A bar of `width` columns between two edges, `part` of it filled (0 to 1). What is more than nothing is seen.
pub fn bar(part: f64, width: usize) -> String {
    let eighths = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let part = if part > 0.0 { part.min(1.0) } else { 0.0 };
    let cells = (part * width as f64 * 8.0).round() as usize;
    let cells = if part > 0.0 { cells.max(1) } else { 0 };
    let (whole, rest) = (cells / 8, cells % 8);
    let mut bar = String::from("▕");
    bar.extend(std::iter::repeat_n('█', whole));
    bar.extend(rest.checked_sub(1).and_then(|i| eighths.get(i)));
    bar.extend(std::iter::repeat_n(' ', width - whole - usize::from(rest > 0)));
    bar.push('▏');
    bar
}

/// `2.4x`, `31x`; what is beyond telling is "over 1000x".
pub fn times(times: f64) -> String {
    match times {
        t if t >= 1000.0 => "over 1000x".to_owned(),
        t if t >= 9.95 => format!("{t:.0}x"),
        t => format!("{t:.1}x"),
    }
}

/// Bytes in words: `1.9 GiB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

/// A number, or what stands for none.
pub fn limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_width() {
        for part in [-1.0, 0.0, 0.0001, 0.1, 0.33, 0.5, 0.999, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(part, 20).chars().count(), 22, "{part}");
        }
        assert_eq!(bar(0.5, 4), "▕██  ▏");
        assert_eq!(bar(0.0, 2), "▕  ▏");
        assert_eq!(bar(0.001, 2), "▕▏ ▏");
    }

    #[test]
    fn numbers_in_words() {
        assert_eq!((times(2.44).as_str(), times(31.2).as_str()), ("2.4x", "31x"));
        assert_eq!(times(f64::INFINITY), "over 1000x");
        assert_eq!(bytes(2_040_109_465), "1.9 GiB");
        assert_eq!((bytes(17).as_str(), limit(None).as_str()), ("17 bytes", "unlimited"));
    }
}
