//! What a check found.

use super::walk::Difference;
use serde::Serialize;

/// One thing that the patched process would do differently.
#[derive(Debug, Clone, Serialize)]
pub struct Disagreement {
    /// Function or object of the new image.
    pub name: String,
    /// What runs under that name in the patched process, in svma of the old image; the payload lies behind the image.
    pub process: u64,
    /// In svma of the new image.
    pub new: u64,
    pub differences: Vec<Place>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Place {
    pub process: u64,
    pub new: u64,
    pub what: String,
}

/// A function of the new image of which the process has none of that name.
#[derive(Debug, Clone, Serialize)]
pub struct Unresolved {
    pub name: String,
    pub address: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Functions that are equal to the old code that stays.
    pub kept: usize,
    /// Functions that the payload carries, equal to the new image's.
    pub carried: usize,
    /// Functions that stay with operands edited, equal to the new image's.
    pub edited: usize,
    /// Functions that stay and differ in numbers that may be line numbers only.
    pub line: usize,
    /// Cold parts that were compared with their functions.
    pub parts: usize,
    /// References that were resolved in both and mean the same.
    pub references: u64,
    /// Named constants whose content was compared.
    pub constants: usize,
    pub line_only: Vec<String>,
    /// Functions that differ and whose old code stays: the bundle says so.
    pub left: Vec<String>,
    /// Texts that stay although the new image has others: the bundle says what they may differ in.
    pub stamped: Vec<String>,
    pub unresolved: Vec<Unresolved>,
    pub disagreements: Vec<Disagreement>,
}

impl Report {
    pub(super) fn disagree<'d>(&mut self, name: &str, p: u64, n: u64, found: impl Iterator<Item = &'d Difference>) {
        let place = |d: &Difference| Place { process: d.process, new: d.new, what: d.what.clone() };
        let differences = found.map(place).collect();
        self.disagreements.push(Disagreement { name: name.to_owned(), process: p, new: n, differences });
    }

    pub(super) fn disagree_data(&mut self, name: &str, p: u64, n: u64, what: String) {
        let differences = vec![Place { process: p, new: n, what }];
        self.disagreements.push(Disagreement { name: name.to_owned(), process: p, new: n, differences });
    }

    /// Everything that was found, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for d in &self.disagreements {
            text.push_str(&format!("differs: {} (process 0x{:x}, new 0x{:x})\n", d.name, d.process, d.new));
            for p in &d.differences {
                text.push_str(&format!("  process 0x{:x}, new 0x{:x}: {}\n", p.process, p.new, p.what));
            }
        }
        for name in &self.left {
            text.push_str(&format!("left old: {name}, as the bundle says\n"));
        }
        for stamped in &self.stamped {
            text.push_str(&format!("text stays: {stamped:?}, as the bundle says\n"));
        }
        for u in &self.unresolved {
            text.push_str(&format!(
                "unresolved: {} (new 0x{:x}): no function of that name in the process\n",
                u.name, u.address
            ));
        }
        text.push_str(&format!(
            "functions: {} kept, {} carried, {} edited in place, {} line numbers only, {} unresolved, {} differ; {} cold parts\n",
            self.kept,
            self.carried,
            self.edited,
            self.line,
            self.unresolved.len(),
            self.disagreements.len(),
            self.parts
        ));
        text.push_str(&format!("{} references and {} constants mean the same\n", self.references, self.constants));
        text
    }
}
