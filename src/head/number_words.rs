//! Numbers of embeddings as 16-bit words: one to a number of 16 bits, two to one of 32.

use crate::store::columns::EmbeddingRow;

/// Appends the numbers that 16-bit words encode, one or two of them to a number.
pub(super) fn append_numbers(words_per_number: usize, words: &[u16], into: &mut Vec<f32>) {
    if words_per_number == 1 {
        grainstore_kernels::append_halves(words, into);
        return;
    }
    let (pairs, _) = words.as_chunks::<2>();
    into.extend(
        pairs
            .iter()
            .map(|pair| bytemuck::cast::<[u16; 2], f32>(*pair)),
    );
}

/// Rows that follow each other.
pub(super) struct Run {
    /// The first of them.
    pub first: usize,
    /// How many there are.
    pub count: usize,
}

/// Groups consecutive rows into runs.
pub(super) fn runs(rows: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for row in rows {
        let row = *row as usize;
        match runs.last_mut() {
            Some(run) if run.first + run.count == row => run.count += 1,
            _ => runs.push(Run {
                first: row,
                count: 1,
            }),
        }
    }
    runs
}

/// Appends the words of numbers.
pub(super) fn append_words(numbers: EmbeddingRow<'_>, words: usize, kept: &mut Vec<u16>) {
    match (numbers, words) {
        (EmbeddingRow::Half(halves), 1) => kept.extend(halves.iter().map(|x| x.to_bits())),
        (EmbeddingRow::Half(halves), _) => {
            kept.extend(
                halves
                    .iter()
                    .flat_map(|x| bytemuck::cast::<f32, [u16; 2]>(x.to_f32())),
            );
        }
        (EmbeddingRow::Single(singles), _) => kept.extend_from_slice(bytemuck::cast_slice(singles)),
    }
}
