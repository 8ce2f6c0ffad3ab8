//! Drawings as SVG: as few kinds of shapes as the plots need.

use std::fmt::Write;

/// The style of drawings that stand alone: light and dark as the reader has it. Within the page, the page's own style holds.
const STYLE: &str = include_str!("plot.css");

/// A drawing.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text is fixed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)], is_closed: bool) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        let end = if is_closed { "Z" } else { "" };
        let _ = writeln!(self.body, r#"<path class="{class}" d="{path}{end}"/>"#);
    }

    /// A rectangle that says what it is when it is pointed at.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), title: &str) {
        let title = escaped(title);
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2"><title>{title}</title></rect>"#
        );
    }

    /// A rectangle that says nothing.
    pub(super) fn mark(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        );
    }

    /// A point that says what it is when it is pointed at.
    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64, title: &str) {
        let title = escaped(title);
        let _ = writeln!(
            self.body,
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"><title>{title}</title></circle>"#
        );
    }

    /// A drawing to be put into a page that has the style.
    pub(super) fn inline(&self, title: &str) -> String {
        self.wrapped(title, "")
    }

    /// A drawing that is a file.
    pub(super) fn alone(&self, title: &str) -> String {
        let ground = format!(r#"<style>{STYLE}</style><rect class="ground" width="100%" height="100%"/>"#);
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", self.wrapped(title, &ground))
    }

    fn wrapped(&self, title: &str, before: &str) -> String {
        let Self { width, height, body } = self;
        let title = escaped(title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{title}\"><title>{title}</title>{before}\n{body}</svg>"
        )
    }
}

/// Text as XML has it; what XML cannot have at all is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            it if it.is_control() => {}
            it => escaped.push(it),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_markup() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text("label", (1.0, 2.0), Anchor::End, "</text><script>\u{7}");
        let drawn = svg.alone("a \"title\"");
        assert!(drawn.contains(r#"text-anchor="end">&lt;/text&gt;&lt;script&gt;</text>"#), "{drawn}");
        assert!(
            drawn.contains(r#"aria-label="a &quot;title&quot;"><title>a &quot;title&quot;</title>"#),
            "{drawn}"
        );
    }
}
