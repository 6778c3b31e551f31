//! Writing into cells, never outside of them: a terminal may be of any size.

use ratatui::{buffer::Buffer, layout::Rect, style::Style, text::Span};

/// A part of the screen.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
}

impl<'a> Canvas<'a> {
    /// The whole.
    pub(super) fn new(buffer: &'a mut Buffer) -> Canvas<'a> {
        let area = buffer.area;
        Canvas { buffer, area }
    }

    pub(super) fn width(&self) -> u16 {
        self.area.width
    }

    pub(super) fn height(&self) -> u16 {
        self.area.height
    }

    /// Lines from `top` on, `height` of them at most.
    pub(super) fn lines(&mut self, top: u16, height: u16) -> Canvas<'_> {
        let top = top.min(self.area.height);
        let area = Rect {
            y: self.area.y + top,
            height: height.min(self.area.height - top),
            ..self.area
        };
        Canvas {
            buffer: self.buffer,
            area,
        }
    }

    /// Writes from a column of a line on, in at most `width` columns. The column behind it.
    pub(super) fn put(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        if x >= self.area.width || y >= self.area.height {
            return x;
        }
        let room = usize::from(width.min(self.area.width - x));
        let (left, line) = (self.area.x + x, self.area.y + y);
        let (end, _) = self.buffer.set_stringn(left, line, text, room, style);
        end - self.area.x
    }

    /// The same, ending at a column.
    pub(super) fn put_right(&mut self, end: u16, y: u16, text: &str, style: Style) {
        let end = end.min(self.area.width);
        let start = end.saturating_sub(width_of(text));
        self.put(start, y, end - start, text, style);
    }

    /// A style over a whole line.
    pub(super) fn paint(&mut self, y: u16, style: Style) {
        if y < self.area.height {
            let line = Rect {
                y: self.area.y + y,
                height: 1,
                ..self.area
            };
            self.buffer.set_style(line, style);
        }
    }

    /// Spaces over everything.
    pub(super) fn clear(&mut self) {
        let blank = " ".repeat(usize::from(self.area.width));
        for y in 0..self.area.height {
            self.put(0, y, self.area.width, &blank, Style::reset());
        }
    }
}

/// Columns that a text takes.
pub(super) fn width_of(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}
