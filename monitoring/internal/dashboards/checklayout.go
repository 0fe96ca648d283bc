package dashboards

// columns is the width of Grafana's grid.
const columns = 24

// checkLayout reports panels that share an id, lie outside the grid or overlap.
func checkLayout(d Dashboard) error {
	var bad problems
	ids := map[int]string{}
	check := func(panels []Panel) {
		for i, p := range panels {
			if other, taken := ids[p.ID]; p.ID <= 0 || taken {
				bad.addf("%q has the id %d, missing or that of %q", p.Title, p.ID, other)
			}
			ids[p.ID] = p.Title
			if g := p.GridPos; g.W <= 0 || g.H <= 0 || g.X < 0 || g.Y < 0 || g.X+g.W > columns {
				bad.addf("%q lies outside the grid: %+v", p.Title, g)
			}
			for _, other := range panels[:i] {
				if p.GridPos.overlaps(other.GridPos) {
					bad.addf("%q overlaps %q", p.Title, other.Title)
				}
			}
		}
	}
	check(d.Panels)
	for _, p := range d.Panels {
		check(p.Panels)
	}
	return bad.err()
}

func (g Grid) overlaps(o Grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}
