//! The terminal: taken over while it is open, and given back however that ends.

use std::io::{self, Write as _};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often it is looked whether a signal came.
const SIGNAL_POLL: Duration = Duration::from_millis(200);

/// What the user wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Newer numbers: the time has come.
    Look,
    /// The same in another size.
    Redraw,
    /// To leave.
    End,
}

/// The taken-over terminal. Dropping it gives the terminal back, and so does a panic before its message.
pub(super) struct Screen {
    is_told_to_end: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        let is_told_to_end = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_told_to_end))?;
        }
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            previous(info);
        }));
        enable_raw_mode()?;
        let screen = Self { is_told_to_end };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Shows the text's beginning, as much of it as there is room for.
    pub(super) fn draw(&mut self, text: &str) -> io::Result<()> {
        let (columns, rows) = size()?;
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..rows).zip(text.lines()) {
            let line: String = line.chars().take(usize::from(columns)).collect();
            queue!(out, MoveTo(0, row), Clear(ClearType::CurrentLine), Print(line))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        out.flush()
    }

    /// Waits for the user, until `deadline` at the latest.
    pub(super) fn wait(&mut self, deadline: Instant) -> io::Result<Wish> {
        loop {
            if self.is_told_to_end.load(Ordering::Relaxed) {
                return Ok(Wish::End);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Wish::Look);
            }
            if event::poll(left.min(SIGNAL_POLL))? {
                match event::read()? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => {
                        let is_interrupt =
                            key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                        if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                            return Ok(Wish::End);
                        }
                    }
                    Event::Resize(..) => return Ok(Wish::Redraw),
                    _ => {}
                }
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as far as it can be reached.
fn restore() {
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}
