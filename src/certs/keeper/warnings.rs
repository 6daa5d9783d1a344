//! Warnings that are said at once and then daily, name by name (B171).

use std::collections::HashMap;

use crate::{domain::Domain, limits};

/// When each name was warned about last; times are seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Warnings(HashMap<Domain, u64>);

impl Warnings {
    /// Whether to warn about this name now, which counts as done.
    pub(super) fn is_due(&mut self, domain: &Domain, now: u64) -> bool {
        // A clock that was set back is as good as a day.
        let said = self.0.get(domain).filter(|said| now.abs_diff(**said) < limits::WARNING_AGAIN.as_secs());
        let is_due = said.is_none();
        if is_due {
            self.0.insert(domain.clone(), now);
        }
        is_due
    }

    /// All is well with it.
    pub(super) fn forget(&mut self, domain: &Domain) {
        self.0.remove(domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b171_a_name_is_warned_about_at_once_and_then_daily() {
        let mut warnings = Warnings::default();
        let [a, b] = ["a.example", "b.example"].map(|name| Domain::parse(name).unwrap());
        assert!(warnings.is_due(&a, 1_000_000) && !warnings.is_due(&a, 1_000_000) && warnings.is_due(&b, 1_000_000));
        assert!(!warnings.is_due(&a, 1_000_000 + 86_399) && warnings.is_due(&a, 1_000_000 + 86_400));
        assert!(warnings.is_due(&a, 5), "a clock that was set");
        warnings.forget(&a);
        assert!(warnings.is_due(&a, 6));
    }
}
