//! Pictures of the figures, as SVG that follows the reader's light or dark scheme.

use std::fmt::Write;

use super::cases::CASES;
use super::growth::Line;
use super::report::Report;

const STYLE: &str = "<style>text{font:13px system-ui,sans-serif;fill:#1c2733}.dim{fill:#66727f}\
    .bar{fill:#1f6f8b}.worse{fill:#b8572a}.grid{stroke:#66727f;stroke-opacity:.25}.one{stroke:#1c2733}\
    .budget{stroke:#b8572a;stroke-width:2}.nginx{stroke:#66727f}.plimsoll{stroke:#1f6f8b}\
    .line{fill:none;stroke-width:2}\
    @media(prefers-color-scheme:dark){text{fill:#e4eaf0}.dim{fill:#9aa7b3}.bar{fill:#5bb3cf}\
    .worse{fill:#e08a5f}.one{stroke:#e4eaf0}.plimsoll{stroke:#5bb3cf}.nginx{stroke:#9aa7b3}}</style>";

/// CPU time per request by nginx's, a bar for each case, with its spread and its budget.
pub fn ratios(report: &Report) -> String {
    const LEFT: f64 = 150.0;
    const SCALE: f64 = 380.0;
    const STEP: f64 = 24.0;
    let rows: Vec<_> =
        CASES.iter().filter_map(|c| Some((c, report.row(c.name, "CPU us/request")?))).collect();
    let bottom = 44.0 + STEP * rows.len() as f64;
    let mut svg = open(660.0, bottom + 56.0, "CPU time per request, Plimsoll by nginx");
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0, 1.2] {
        let (x, class) = (LEFT + SCALE * tick, if tick == 1.0 { "one" } else { "grid" });
        let _ = write!(svg, "<line class=\"{class}\" x1=\"{x}\" x2=\"{x}\" y1=\"36\" y2=\"{bottom}\"/>");
        let _ = write!(
            svg,
            "<text class=\"dim\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 18.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"dim\" x=\"{LEFT}\" y=\"{}\">bar: median; line: spread of the rounds; upright mark: budget</text>",
        bottom + 42.0
    );
    for (index, (case, row)) in rows.iter().enumerate() {
        let y = 44.0 + STEP * index as f64;
        let (ratio, x) = (row.ratio, |value: f64| LEFT + SCALE * value.min(1.2));
        let class = if ratio.median > 1.0 { "worse" } else { "bar" };
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 12.0,
            case.name
        );
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"15\" rx=\"2\"/>",
            x(ratio.median) - LEFT
        );
        let _ = write!(
            svg,
            "<line class=\"one\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{m}\" y2=\"{m}\"/>",
            x(ratio.least),
            x(ratio.most),
            m = y + 7.5
        );
        if let Some(budget) = case.budget {
            let at = x(budget);
            let _ = write!(
                svg,
                "<line class=\"budget\" x1=\"{at}\" x2=\"{at}\" y1=\"{}\" y2=\"{}\"/>",
                y - 2.0,
                y + 17.0
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\">{:.2}</text>",
            x(ratio.most.max(ratio.median)) + 6.0,
            y + 12.0,
            ratio.median
        );
    }
    svg + "</svg>\n"
}

/// The price of a request along each axis: logarithmic in the number, linear in the price, and from nothing.
pub fn growth(lines: &[Line]) -> String {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 190.0;
    let rows = lines.len().div_ceil(2) as f64;
    let mut svg =
        open(2.0 * WIDTH + 20.0, 44.0 + rows * HEIGHT, "Instructions of a request as something grows");
    for (index, line) in lines.iter().enumerate() {
        let (left, top) = (10.0 + WIDTH * (index % 2) as f64, 44.0 + HEIGHT * (index / 2) as f64);
        small_plot(&mut svg, line, left, top);
    }
    svg + "</svg>\n"
}

fn small_plot(svg: &mut String, line: &Line, left: f64, top: f64) {
    const WIDTH: f64 = 230.0;
    const HEIGHT: f64 = 120.0;
    let most = line.nginx.iter().chain(&line.plimsoll).copied().fold(1.0, f64::max);
    let decades = line.points.iter().map(|p| (*p as f64).log10()).fold(1.0, f64::max);
    let _ = write!(svg, "<text x=\"{left}\" y=\"{}\">{}</text>", top + 12.0, line.title());
    let bottom = top + 22.0 + HEIGHT;
    let _ = write!(
        svg,
        "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{bottom}\" y2=\"{bottom}\"/>",
        left + WIDTH
    );
    for point in &line.points {
        let x = left + WIDTH * (*point as f64).log10() / decades;
        let _ = write!(
            svg,
            "<text class=\"dim\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{point}</text>",
            bottom + 16.0
        );
    }
    let height = |value: f64| bottom - HEIGHT * value / most;
    let at = |(point, value): (&usize, &f64)| {
        format!("{:.1},{:.1}", left + WIDTH * (*point as f64).log10() / decades, height(*value))
    };
    let mut labels = Vec::new();
    for (name, values) in [("nginx", &line.nginx), ("plimsoll", &line.plimsoll)] {
        let path: Vec<String> = line.points.iter().zip(values).map(at).collect();
        let _ = write!(svg, "<polyline class=\"line {name}\" points=\"{}\"/>", path.join(" "));
        labels.extend(values.last().map(|last| (height(*last) + 4.0, name, last)));
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::MIN;
    for (y, name, last) in labels {
        // One below the other where both lines end at the same height.
        let y = y.max(free);
        free = y + 14.0;
        let x = left + WIDTH + 6.0;
        let _ = write!(svg, "<text class=\"dim\" x=\"{x}\" y=\"{y:.1}\">{name} {last:.0}</text>");
    }
}

fn open(width: f64, height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}\">{STYLE}<text x=\"10\" y=\"22\" font-weight=\"600\">{title}</text>"
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::Figure;
    use super::*;

    #[test]
    fn a_bar_for_each_case_that_was_measured() {
        let mut report = Report::default();
        report.add("return", "CPU us/request", Figure::single(10.0, 7.0));
        report.add("static-1k", "CPU us/request", Figure::single(10.0, 11.0));
        let svg = ratios(&report);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert_eq!(svg.matches("class=\"worse\"").count(), 1);
        assert!(svg.contains(">0.70</text>") && svg.ends_with("</svg>\n"));
    }
}
