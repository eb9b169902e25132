//! Licence expressions (SPDX), as far as `Cargo.toml` files hold them.

/// Whether an expression can be met with licences that are `allowed`; `None` where it is none.
///
/// `AND` binds closer than `OR`; `/` is how crates wrote `OR` before there was a standard.
pub(crate) fn is_met(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = Words { left: spaced.split_whitespace().collect(), allowed };
    // Taken from the end.
    words.left.reverse();
    let met = words.any()?;
    words.left.is_empty().then_some(met)
}

struct Words<'a> {
    left: Vec<&'a str>,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Words<'_> {
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.take("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.take("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let met = self.any()?;
            return self.take(")").then_some(met);
        }
        let name = self.left.pop().filter(|word| !matches!(*word, "AND" | "OR" | "WITH" | ")"))?;
        if self.take("WITH") {
            let exception = self.left.pop()?;
            return Some((self.allowed)(&format!("{name} WITH {exception}")));
        }
        Some((self.allowed)(name))
    }

    fn take(&mut self, word: &str) -> bool {
        self.left.pop_if(|next| *next == word).is_some()
    }
}

#[test]
fn expressions_are_met_as_spdx_says() {
    let allowed = |name: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name);
    for (expression, met) in [
        ("MIT", Some(true)),
        ("GPL-3.0", Some(false)),
        ("GPL-3.0 OR MIT", Some(true)),
        ("GPL-3.0/MIT", Some(true)),
        ("MIT AND GPL-3.0", Some(false)),
        ("MIT AND ISC", Some(true)),
        ("GPL-3.0 OR MIT AND ISC", Some(true)),
        ("(GPL-3.0 OR MIT) AND GPL-2.0", Some(false)),
        ("Apache-2.0 WITH LLVM-exception", Some(true)),
        ("Apache-2.0", Some(false)),
        ("", None),
        ("MIT OR", None),
        ("(MIT", None),
        ("MIT ISC", None),
        ("MIT)", None),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
