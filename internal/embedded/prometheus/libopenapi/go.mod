module github.com/pb33f/libopenapi

go 1.26.0

require github.com/pb33f/go-yaml v0.1.1
