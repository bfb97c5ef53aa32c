//! What is wrong with a configuration, said so that it can be mended without a guide.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, as in `agents[0].url`; empty for the file as a whole.
    pub key: String,
    pub line: Option<usize>,
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    pub(super) fn of_file(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key: String::new(), line: None, message: message.into(), hint: hint.into() }
    }
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug)]
pub struct Problems {
    pub file: String,
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            f.write_str(&self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            writeln!(f, "{}", problem.message)?;
            if !problem.hint.is_empty() {
                writeln!(f, "    hint: {}", problem.hint)?;
            }
        }
        let count = self.problems.len();
        write!(f, "{count} problem{} in the configuration; nothing was started", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Problems {}
