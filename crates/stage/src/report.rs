//! Small helpers for what people read.

use comfy_table::{CellAlignment, Table, presets};

/// A count with its noun: "1 node", "2 nodes". Nouns in -y behind a consonant, and in -s, -x, -ch, -sh, are right, too.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {}", plural(noun)) }
}

fn plural(noun: &str) -> String {
    let vowel_before_y = ["ay", "ey", "oy", "uy"].iter().any(|end| noun.ends_with(end));
    match noun.strip_suffix('y') {
        Some(stem) if !vowel_before_y => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// A size for people: "3.4 MiB".
pub fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// A plain table without borders. Columns whose cells are all numbers are aligned right.
pub fn table<R: IntoIterator<Item = String>>(headers: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headers.to_vec());
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let mut cells = rows.iter().filter_map(|row| row.get(i)).filter(|cell| !cell.is_empty()).peekable();
        if cells.peek().is_some()
            && cells.all(|cell| cell.trim_end_matches([' ', '%']).parse::<f64>().is_ok())
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_plurals() {
        let nouns = ["node", "entry", "display", "pass", "box", "batch"];
        let one: Vec<_> = nouns.iter().map(|n| count(1, n)).collect();
        let two: Vec<_> = nouns.iter().map(|n| count(2, n)).collect();
        assert_eq!(one, ["1 node", "1 entry", "1 display", "1 pass", "1 box", "1 batch"]);
        assert_eq!(two, ["2 nodes", "2 entries", "2 displays", "2 passes", "2 boxes", "2 batches"]);
        assert_eq!(count(0, "node"), "0 nodes");
    }

    #[test]
    fn numbers_are_aligned_right() {
        let rows = [["Conv", "12", "conv1"], ["Gemm", "3", ""]].map(|row| row.map(str::to_owned));
        insta::assert_snapshot!(table(&["operator", "count", "first"], rows), @r"
        operator  count  first
        Conv         12  conv1
        Gemm          3
        ");
    }
}
