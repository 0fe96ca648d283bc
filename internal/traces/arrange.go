package traces

import "slices"

// none is the parent of a node that has none.
const none = -1

// maxGuides is how many levels are indented; deeper ones stand below each other.
const maxGuides = 12

// arranged is a node's place in a tree that is printed.
type arranged struct {
	node, depth int
	guide       string // what stands before the node's text
	circle      bool   // the node is at the top for want of a way from a root
}

// arrange orders nodes so that each stands before its children, and siblings
// by their index. parent holds each node's parent or none; a circle is broken
// at the node of its smallest index. It uses no recursion: how deep a tree goes
// is up to whoever sent it. Hidden nodes are left out; they have no children.
func arrange(parent []int, hidden map[int]bool) []arranged {
	a := arrangement{
		children: make([][]int, len(parent)), seen: make([]bool, len(parent)), out: make([]arranged, 0, len(parent)),
	}
	for node, p := range parent {
		a.seen[node] = hidden[node]
		if p != none && !hidden[node] {
			a.children[p] = append(a.children[p], node)
		}
	}
	for node, p := range parent {
		if p == none && !hidden[node] {
			a.from(arranged{node: node})
		}
	}
	for node := range parent {
		if !a.seen[node] {
			a.from(arranged{node: node, circle: true})
		}
	}
	return a.out
}

type arrangement struct {
	children [][]int
	seen     []bool
	out      []arranged
}

// visit is a node that waits, and what its children's guides begin with.
type visit struct {
	arranged
	prefix string
}

func (a *arrangement) from(root arranged) {
	for stack := []visit{{arranged: root}}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		a.seen[at.node] = true
		a.out = append(a.out, at.arranged)
		children := slices.DeleteFunc(a.children[at.node], func(child int) bool { return a.seen[child] })
		for n, child := range slices.Backward(children) { // the first is to be on top
			stack = append(stack, below(at, child, n == len(children)-1))
		}
	}
}

// below is the visit of a node's child.
func below(parent visit, child int, last bool) visit {
	v := visit{arranged: arranged{node: child, depth: parent.depth + 1}}
	switch {
	case v.depth > maxGuides:
		v.guide, v.prefix = parent.prefix+"⋯ ", parent.prefix
	case last:
		v.guide, v.prefix = parent.prefix+"└ ", parent.prefix+"  "
	default:
		v.guide, v.prefix = parent.prefix+"├ ", parent.prefix+"│ "
	}
	return v
}
