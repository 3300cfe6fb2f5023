// Writes go.zip, go_stored.zip and go_directory.zip with the file that is named: `go run make.go erp.dump`.
package main

import (
	"archive/zip"
	"os"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	dump, err := os.ReadFile(os.Args[1])
	check(err)
	write := func(name string, entries ...*zip.FileHeader) {
		file, err := os.Create(name)
		check(err)
		writer := zip.NewWriter(file)
		for _, header := range entries {
			header.Modified = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)
			entry, err := writer.CreateHeader(header)
			check(err)
			if header.Name[len(header.Name)-1] != '/' {
				_, err = entry.Write(dump)
				check(err)
			}
		}
		check(writer.Close())
		check(file.Close())
	}
	write("go.zip", &zip.FileHeader{Name: "erp.dump", Method: zip.Deflate})
	write("go_stored.zip", &zip.FileHeader{Name: "erp.dump", Method: zip.Store})
	write("go_directory.zip", &zip.FileHeader{Name: "nächtlich/"}, &zip.FileHeader{Name: "nächtlich/erp.dump", Method: zip.Deflate})
}
