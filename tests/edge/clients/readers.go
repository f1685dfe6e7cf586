// Reads one session with a client of Go, as its users do: `readers CLIENT URL COUNT START`.
// Prints `reader cursor` for each event.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"
)

const pause = 50 * time.Millisecond

var printing sync.Mutex

func say(reader int, cursor string) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Printf("%d %s\n", reader, cursor)
}

type event struct {
	Control string `json:"control"`
	Cursor  string `json:"cursor"`
}

func fatal(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

// The standard library, and a parser of lines such as many programs have.
func byNetHTTP(reader int, url, place string) {
	for ; ; time.Sleep(pause) {
		request, _ := http.NewRequest("GET", url+"/sse", nil)
		request.Header.Set("Last-Event-ID", place)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		name, id, data := "", "", ""
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case lines.Text() == "":
				if name == "gap" {
					fatal("a gap: " + data)
				}
				if name == "" && data != "" {
					place = id
					say(reader, id)
				}
				name, data = "", ""
			case field == "event":
				name = value
			case field == "id":
				id = value
			case field == "data":
				data += value
			}
		}
		answer.Body.Close()
	}
}

// Comes back by itself, by the last id that it has read.
func byR3labs(reader int, url, place string) {
	client := sse.NewClient(url + "/sse")
	client.ReconnectStrategy = backoff.NewConstantBackOff(pause)
	client.LastEventID.Store([]byte(place))
	for ; ; time.Sleep(pause) {
		client.SubscribeRaw(func(message *sse.Event) {
			// Of an event that was cut off it hands out the part that came.
			if len(message.Event) == 0 && json.Valid(message.Data) {
				var said event
				json.Unmarshal(message.Data, &said)
				say(reader, said.Cursor)
			}
		})
	}
}

func byCoderWebsocket(reader int, url, place string) {
	for ; ; time.Sleep(pause) {
		ctx := context.Background()
		address := strings.Replace(url, "http", "ws", 1) + "/ws?cursor=" + place
		connection, _, err := websocket.Dial(ctx, address, nil)
		if err != nil {
			continue
		}
		for {
			_, message, err := connection.Read(ctx)
			if err != nil {
				break
			}
			var said event
			if json.Unmarshal(message, &said) != nil {
				// Of a message that was cut off it returns the part that came, without an error (v1.8.15, read.go).
				break
			}
			if said.Control == "gap" {
				fatal("a gap")
			}
			if said.Control == "" {
				place = said.Cursor
				say(reader, place)
			}
		}
		connection.CloseNow()
	}
}

func main() {
	clients := map[string]func(int, string, string){
		"net-http": byNetHTTP, "r3labs-sse": byR3labs, "coder-websocket": byCoderWebsocket,
	}
	count, _ := strconv.Atoi(os.Args[3])
	for reader := 0; reader < count; reader++ {
		go clients[os.Args[1]](reader, os.Args[2], os.Args[4])
	}
	select {}
}
