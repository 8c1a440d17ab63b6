"""Colours of categories, told apart by every eye."""

# Okabe and Ito's colours, then each the farthest (OKLab) from all before it as seen
# with normal vision, deuteranopia and protanopia (Machado 2009); light and pale ones
# are left out. Smallest distance: 0.12 among 12 colours (0.08 seen with deuteranopia),
# 0.07 among 23, 0.05 among 40.
# fmt: off
COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#800808",
    "#40F0C8", "#004868", "#0000F8", "#5888F8", "#B03020", "#4008B0", "#007068",
    "#E8D070", "#A8B890", "#60D8F8", "#D000A0", "#0868F0", "#800048", "#40C8C8",
    "#F06078", "#5098D8", "#982038", "#0850D0", "#802088", "#E87838", "#B83870",
    "#C05038", "#4880D0", "#F8B800", "#007890", "#D8C898", "#D0B868", "#40A0B8",
    "#1800D8", "#00A850", "#58D8C0", "#880868", "#68A0F8",
)

# The same on a dark ground: no colour beyond Okabe and Ito's is darker than OKLab
# L = 0.55. Smallest distance: 0.075 among 12, 0.06 among 23, 0.044 among 40.
COLOURS_ON_DARK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#A8F8D8",
    "#E8F000", "#5888F8", "#A0C8A0", "#90D8F8", "#C80898", "#2060F8", "#C8E088",
    "#C04038", "#E8C800", "#F85870", "#E000C8", "#58C8D0", "#F8A870", "#E87828",
    "#98E0D0", "#58A0F8", "#4078D8", "#986068", "#D890A0", "#68A0C8", "#90F0F8",
    "#E09860", "#60C8F8", "#E0F080", "#B06898", "#A08050", "#E8E8B0", "#B8D8A8",
    "#4080B8", "#E078C8", "#D8E058", "#F0A0C8", "#E09888",
)
# fmt: on
