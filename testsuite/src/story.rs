//! What a demo tells while a scenario runs; a test tells nothing.

/// Where the words go.
#[derive(Debug, Clone, Copy)]
pub enum Story {
    Told,
    Silent,
}

impl Story {
    /// A step with the command that a user would type.
    pub fn step(self, what: &str, command: &str) {
        self.print(&format!("\n{what}:\n  $ {command}"));
    }

    /// What came of it.
    pub fn say(self, what: &str) {
        self.print(&format!("  {what}"));
    }

    fn print(self, text: &str) {
        if matches!(self, Story::Told) {
            println!("{text}");
        }
    }
}

/// "1 function", "2 functions".
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
