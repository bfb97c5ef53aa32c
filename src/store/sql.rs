//! Statements that are put together, with their values.

/// A value of a statement.
pub(super) enum Value<'a> {
    Text(&'a str),
    Owned(String),
    Number(i64),
    NumberOrNull(Option<i64>),
}

/// A statement that is put together, with its values.
#[derive(Default)]
pub(super) struct Sql<'a> {
    pub(super) text: String,
    pub(super) values: Vec<Value<'a>>,
}

impl<'a> Sql<'a> {
    pub(super) fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn bind(&mut self, value: Value<'a>) {
        self.values.push(value);
        self.text.push_str(&format!("${}", self.values.len()));
    }

    pub(super) fn and(&mut self, condition: &str, value: Value<'a>) {
        self.add(" AND ");
        self.add(condition);
        self.bind(value);
    }

    /// Rows of values, each in parentheses.
    pub(super) fn tuples<T>(&mut self, rows: &'a [T], values: fn(&'a T) -> Vec<Value<'a>>) {
        for (at, row) in rows.iter().enumerate() {
            self.add(if at == 0 { "(" } else { ", (" });
            for (at, value) in values(row).into_iter().enumerate() {
                self.add(if at == 0 { "" } else { ", " });
                self.bind(value);
            }
            self.add(")");
        }
    }
}

/// A query of `sql` with its values; a macro, for queries of different results have different types.
macro_rules! bound {
    ($query:path, $sql:expr) => {{
        let Sql { text, values } = $sql;
        values.into_iter().fold($query(sqlx::AssertSqlSafe(text)), |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Owned(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
            Value::NumberOrNull(number) => query.bind(number),
        })
    }};
}

pub(super) use bound;
