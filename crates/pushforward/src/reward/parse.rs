//! Grammar and parser of reward specifications.
//!
//! ```text
//! sum     = term { ("+" | "-") term }
//! term    = factor { "*" factor }
//! factor  = number | "-" factor | "(" sum ")" | name [ "(" argument { "," argument } ")" ]
//! argument = "text in quotes" | number ".." number | sum
//! ```

use super::error::SpecError;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Number(f64),
    Call { name: String, arguments: Vec<Argument> },
    Negative(Box<Expr>),
    Sum(Box<Expr>, Box<Expr>),
    Difference(Box<Expr>, Box<Expr>),
    Product(Box<Expr>, Box<Expr>),
}

/// An argument in the parentheses after a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Text(String),
    Range(f64, f64),
    Value(Expr),
}

/// Parses a whole specification.
pub(super) fn parse(text: &str) -> Result<Expr, SpecError> {
    let mut reader = Reader { text, at: 0, depth: 0, parts: 0 };
    let expr = reader.sum()?;
    reader.skip();
    if reader.at < text.len() { Err(reader.unexpected("an operator or the end")) } else { Ok(expr) }
}

/// Deepest nesting of parentheses, arguments and signs: the parser and whoever walks an expression recurse.
const DEEPEST: usize = 100;
/// Most numbers and names of an expression. Sums and products are nested to the left, one level a term.
const MOST_PARTS: usize = 1000;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    parts: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, symbol: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(symbol);
        self.at += if found { symbol.len() } else { 0 };
        found
    }

    fn unexpected(&self, wanted: &'static str) -> SpecError {
        let found = self.rest().chars().next().map_or("the end".to_owned(), |c| format!("{c:?}"));
        SpecError::Syntax { position: self.text[..self.at].chars().count() + 1, wanted, found }
    }

    fn sum(&mut self) -> Result<Expr, SpecError> {
        let mut left = self.term()?;
        loop {
            if self.take("+") {
                left = Expr::Sum(Box::new(left), Box::new(self.term()?));
            } else if self.take("-") {
                left = Expr::Difference(Box::new(left), Box::new(self.term()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Result<Expr, SpecError> {
        let mut left = self.factor()?;
        while self.take("*") {
            left = Expr::Product(Box::new(left), Box::new(self.factor()?));
        }
        Ok(left)
    }

    fn factor(&mut self) -> Result<Expr, SpecError> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(SpecError::TooLarge { what: "parts", most: MOST_PARTS });
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(SpecError::TooLarge { what: "levels of parentheses and signs", most: DEEPEST });
        }
        let found = self.inner_factor();
        self.depth -= 1;
        found
    }

    fn inner_factor(&mut self) -> Result<Expr, SpecError> {
        if self.take("-") {
            return Ok(Expr::Negative(Box::new(self.factor()?)));
        }
        if self.take("(") {
            let inner = self.sum()?;
            return if self.take(")") { Ok(inner) } else { Err(self.unexpected("`)`")) };
        }
        self.skip();
        let name: String = self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.starts_with(|c: char| c.is_alphabetic()) {
            self.at += name.len();
            let arguments = if self.take("(") { self.arguments()? } else { Vec::new() };
            return Ok(Expr::Call { name, arguments });
        }
        self.number().map(Expr::Number)
    }

    fn number(&mut self) -> Result<f64, SpecError> {
        self.skip();
        let rest = self.rest().as_bytes();
        let mut end = 0;
        while let Some(&byte) = rest.get(end) {
            let exponent = end > 0 && matches!(rest[end - 1], b'e' | b'E');
            let digit = byte.is_ascii_digit()
                // `..` is a range, not a decimal point.
                || (byte == b'.' && rest.get(end + 1) != Some(&b'.') && (end == 0 || rest[end - 1] != b'.'))
                || (matches!(byte, b'e' | b'E') && end > 0)
                || (matches!(byte, b'-' | b'+') && exponent);
            if !digit {
                break;
            }
            end += 1;
        }
        let value = self.rest()[..end].parse().map_err(|_| self.unexpected("a number, a name or `(`"))?;
        self.at += end;
        Ok(value)
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, SpecError> {
        let mut found = Vec::new();
        loop {
            found.push(self.argument()?);
            if self.take(")") {
                return Ok(found);
            }
            if !self.take(",") {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
    }

    fn argument(&mut self) -> Result<Argument, SpecError> {
        if self.take("\"") {
            let Some(length) = self.rest().find('"') else { return Err(self.unexpected("a closing quotation mark")) };
            let text = self.rest()[..length].to_owned();
            self.at += length + 1;
            return Ok(Argument::Text(text));
        }
        let first = self.sum()?;
        if !self.take("..") {
            return Ok(Argument::Value(first));
        }
        let second = self.factor()?;
        match (constant(&first), constant(&second)) {
            (Some(low), Some(high)) => Ok(Argument::Range(low, high)),
            _ => Err(self.unexpected("a range of numbers")),
        }
    }
}

/// The value of an expression that is a number or a negated number, else `None`.
pub(super) fn constant(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Number(value) => Some(*value),
        Expr::Negative(inner) => constant(inner).map(|v| -v),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_bind_tighter_than_sums_and_ranges_are_no_decimals() {
        let call = |name: &str, arguments| Expr::Call { name: name.into(), arguments };
        let two = |f: fn(Box<Expr>, Box<Expr>) -> Expr, a, b| f(Box::new(a), Box::new(b));
        let window = call("window", vec![Argument::Value(call("logp", vec![])), Argument::Range(1.0, 3.5)]);
        let wanted = two(
            Expr::Difference,
            two(Expr::Product, Expr::Number(2.0), call("qed", vec![])),
            two(Expr::Product, Expr::Number(0.5), window),
        );
        assert_eq!(parse("2*qed - 0.5*window(logp, 1..3.5)"), Ok(wanted));
        assert_eq!(parse(" ( 1e-3 ) "), Ok(Expr::Number(1e-3)));
        let text = call("contains", vec![Argument::Text("a, (b)".into())]);
        assert_eq!(parse("contains(\"a, (b)\")"), Ok(text));
        let range = call("window", vec![Argument::Value(Expr::Number(1.0)), Argument::Range(-2.0, -1.0)]);
        assert_eq!(parse("window(1, -2..-1)"), Ok(range));
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        for (text, position, found) in [
            ("2*", 3, "the end"),
            ("qed +", 6, "the end"),
            ("qed)", 4, "')'"),
            ("(qed", 5, "the end"),
            ("1 $", 3, "'$'"),
        ] {
            match parse(text) {
                Err(SpecError::Syntax { position: p, found: f, .. }) => assert_eq!((p, f.as_str()), (position, found)),
                other => panic!("{text}: {other:?}"),
            }
        }
        for (text, what) in [
            ("(".repeat(20_000), "levels"),
            ("-".repeat(20_000), "levels"),
            ("window(".repeat(20_000), "levels"),
            (vec!["1"; 30_000].join("*"), "parts"),
            (vec!["qed"; 30_000].join("+"), "parts"),
        ] {
            assert!(matches!(parse(&text), Err(SpecError::TooLarge { what: w, .. }) if w.starts_with(what)), "{what}");
        }
        assert!(parse(&format!("{}1{}", "(".repeat(90), ")".repeat(90))).is_ok());
        assert!(parse("contains(\"a)").is_err() && parse("window(a, b..c)").is_err() && parse("").is_err());
    }
}
