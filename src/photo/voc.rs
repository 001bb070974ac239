//! The colour map of PASCAL VOC label maps, in both directions.
//!
//! Source: VOC devkit, `VOCcode/VOClabelcolormap.m`. The bits of an index are assigned in turn to red, green and blue,
//! filling each from its highest bit down.

/// Colour of each class index, as in PASCAL VOC's label maps; 255 (void) is `[224, 224, 192]`.
pub fn voc_colormap() -> [[u8; 3]; 256] {
    let mut colors = [[0; 3]; 256];
    for (index, color) in (0..=u8::MAX).zip(&mut colors) {
        *color = voc_color(index);
    }
    colors
}

fn voc_color(index: u8) -> [u8; 3] {
    let mut color = [0; 3];
    for bit in 0..8 {
        if let Some(channel) = color.get_mut(bit % 3) {
            *channel |= (index >> bit & 1) << (7 - bit / 3);
        }
    }
    color
}

/// Class index of a colour; `None` for colours outside the map.
pub(super) fn voc_index(color: [u8; 3]) -> Option<u8> {
    let mut index = 0;
    for bit in 0..8 {
        let channel = color.get(bit % 3)?;
        index |= (channel >> (7 - bit / 3) & 1) << bit;
    }
    (voc_color(index) == color).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colors() {
        let colors = voc_colormap();
        assert_eq!(colors[0], [0, 0, 0], "background");
        assert_eq!(colors[1], [128, 0, 0], "aeroplane");
        assert_eq!(colors[8], [64, 0, 0], "cat");
        assert_eq!(colors[15], [192, 128, 128], "person");
        assert_eq!(colors[20], [0, 64, 128], "tvmonitor");
        assert_eq!(colors[255], [224, 224, 192], "void");
    }

    #[test]
    fn every_color_leads_back_to_its_index() {
        for (index, color) in (0..=u8::MAX).zip(voc_colormap()) {
            assert_eq!(voc_index(color), Some(index));
        }
        assert_eq!(voc_index([1, 0, 0]), None);
        assert_eq!(voc_index([255, 255, 255]), None);
    }
}
