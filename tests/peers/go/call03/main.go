// Call03 calls an agent with the client of a2a-go v0.3.15 and prints one JSON document of steps.
//
// Each step is {"ok": true, "value": …} or {"ok": false, "message": …}. Values are A2A 0.3.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"os"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2aclient/agentcard"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var (
	base    = flag.String("base", "", "the URL below which the card is")
	key     = flag.String("key", "", "sent as the bearer token")
	binding = flag.String("binding", "JSONRPC", "JSONRPC or GRPC")
	agent   = flag.String("agent", "", "sent as a2a-agent, which says by gRPC who is meant")
)

// They are no UTF-8, and their base64 has both of the characters '+' and '/'.
var file = []byte{0xfb, 0xef, 0xbe, 0xff, 0x00, 0x80, 0xc1, 0xfe, 0x01, 0xf5, 0xfa, 0x0a}

// connect reads the card and opens a client with the chosen binding alone.
func connect(ctx context.Context) (*a2a.AgentCard, *a2aclient.Client, error) {
	meta := a2aclient.CallMeta{}
	var options []agentcard.ResolveOption
	if *key != "" {
		meta.Append("Authorization", "Bearer "+*key)
		options = append(options, agentcard.WithRequestHeader("Authorization", "Bearer "+*key))
	}
	if *agent != "" {
		meta.Append("A2A-Agent", *agent)
	}
	card, err := agentcard.DefaultResolver.Resolve(ctx, *base, options...)
	if err != nil {
		return nil, nil, err
	}
	transport := a2aclient.WithJSONRPCTransport(nil)
	if *binding == "GRPC" {
		transport = a2aclient.WithGRPCTransport(grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	client, err := a2aclient.NewFromCard(ctx, card, a2aclient.WithDefaultsDisabled(), transport,
		a2aclient.WithInterceptors(a2aclient.NewStaticCallMetaInjector(meta)))
	return card, client, err
}

// message returns the parameters of a message whose id starts with prefix. They say that the call
// waits for the end: without that, an agent of 0.3 may answer by gRPC with a task just submitted.
func message(prefix string, parts ...a2a.Part) *a2a.MessageSendParams {
	message := a2a.NewMessage(a2a.MessageRoleUser, parts...)
	message.ID = prefix + message.ID
	blocking := true
	return &a2a.MessageSendParams{Message: message, Config: &a2a.MessageSendConfig{Blocking: &blocking}}
}

func main() {
	flag.Parse()
	if *base == "" || *binding != "JSONRPC" && *binding != "GRPC" {
		log.Fatal("-base is required, and -binding is JSONRPC or GRPC")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	outcomes := map[string]any{}
	run := func(name string, step func() (any, error)) {
		if value, err := step(); err != nil {
			outcomes[name] = map[string]any{"ok": false, "message": err.Error()}
		} else {
			outcomes[name] = map[string]any{"ok": true, "value": value}
		}
	}

	var client *a2aclient.Client
	var done a2a.TaskID
	text := a2a.TextPart{Text: "hello"}
	run("card", func() (card any, err error) {
		card, client, err = connect(ctx)
		return card, err
	})
	if client == nil {
		log.Fatal(outcomes)
	}
	run("send", func() (any, error) {
		answer, err := client.SendMessage(ctx, message("send-", text))
		if task, ok := answer.(*a2a.Task); ok && err == nil {
			done = task.ID
		}
		return answer, err
	})
	run("send_unconfigured", func() (any, error) {
		params := message("send-", text)
		params.Config = nil
		return client.SendMessage(ctx, params)
	})
	run("send_message_reply", func() (any, error) {
		return client.SendMessage(ctx, message("message-", text))
	})
	run("stream_chunks", func() (any, error) {
		var events []a2a.Event
		var failed error
		for event, err := range client.SendStreamingMessage(ctx, message("chunks-3-8-10-", text)) {
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			events = append(events, event)
		}
		return events, failed
	})
	run("get", func() (any, error) {
		return client.GetTask(ctx, &a2a.TaskQueryParams{ID: done})
	})
	run("artifact_file", func() (any, error) {
		return client.SendMessage(ctx, message("artifact-file-", text))
	})
	run("send_file", func() (any, error) {
		content := a2a.FileBytes{
			FileMeta: a2a.FileMeta{MimeType: "image/x-test", Name: "input.bin"},
			Bytes:    base64.StdEncoding.EncodeToString(file),
		}
		return client.SendMessage(ctx, message("file-", a2a.FilePart{File: content}))
	})
	run("get_missing", func() (any, error) {
		return client.GetTask(ctx, &a2a.TaskQueryParams{ID: "no-such-task"})
	})

	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		log.Fatal(err)
	}
}
