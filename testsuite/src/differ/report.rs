//! The comparison as tables.

use super::Compared;
use super::reconcile::Judged;
use std::fmt::Write as _;

impl Compared {
    /// Figures of both, and the reconciliation, in Markdown.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut out = format!("## {}: {} to {}\n", self.name, self.versions[0], self.versions[1]);
        if let Some(drift) = &self.ours.drift {
            let _ = writeln!(out, "drift: {drift}");
        }
        let f = &self.crude.figures;
        let _ = write!(
            out,
            "| crude differ | |\n|---|---|\n\
             | names of one function in both builds | {} |\n\
             | names only in the old build, in the new one | {}, {} |\n\
             | names of several functions, of which differ | {}, {} |\n\
             | bodies identical | {} |\n\
             | identical with PC-relative operands masked | {} |\n\
             | identical with absolute addresses masked | {} |\n\
             | names whose body differs; bodies | {}; {} |\n\
             | of these names in operands only | {} |\n\
             | bodies that differ in line numbers only | {} |\n\
             | equal after masking, with a reference to something else | {} |\n\n",
            f.names,
            f.only_old,
            f.only_new,
            f.several,
            f.several_differ,
            f.identical,
            f.masked,
            f.absolute,
            f.differing_names,
            f.differing_bodies,
            f.operands_only,
            f.only_lines,
            f.retargeted
        );
        let changed: usize = self.ours.causes.values().sum();
        let causes: Vec<String> = self.ours.causes.iter().map(|(cause, n)| format!("{n} {cause}")).collect();
        let _ = writeln!(
            out,
            "patchgen diff: {} the same, {changed} changed ({}), {} new, {} gone\n",
            self.ours.same,
            causes.join(", "),
            self.ours.new,
            self.ours.gone
        );
        out.push_str("| reconciliation | names | bodies |\n|---|---|---|\n");
        let mut row = |what: &str, all: &[Judged]| {
            let names: usize = all.iter().map(|j| j.names.len()).sum();
            let _ = writeln!(out, "| {what} | {names} | {} |", all.len());
        };
        for (cause, all) in &self.reconciled.agreed {
            row(&format!("both: changed; {cause}"), all);
        }
        for (class, all) in &self.reconciled.explained {
            row(class, all);
        }
        row("unexplained", &self.reconciled.unexplained);
        out
    }

    /// A line for each function of the reconciliation.
    #[must_use]
    pub fn list(&self) -> String {
        let r = &self.reconciled;
        let all = r.agreed.values().chain(r.explained.values()).flatten().chain(&r.unexplained);
        let mut out = String::new();
        for j in all {
            let _ = writeln!(out, "{:#x}\t{:#x}\t{}\t{}\t{}", j.old, j.new, j.class, j.names.join(","), j.detail);
        }
        out
    }
}
