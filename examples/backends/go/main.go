package main

import (
	"database/sql"
	"encoding/json"
	"log"
	"net/http"
	"net/url"
	"os"

	_ "github.com/lib/pq"
)

// User is what the proxy says of whoever sent the request.
type User struct {
	ID    string  `json:"id"`
	Email *string `json:"email"`
	Role  *string `json:"role"`
}

// header decodes a value: Latin-1, percent-encoded beyond it.
func header(request *http.Request, name string) *string {
	sent := request.Header.Get("X-Auth-Request-" + name)
	runes := make([]rune, 0, len(sent))
	for i := 0; i < len(sent); i++ {
		runes = append(runes, rune(sent[i]))
	}
	text, err := url.PathUnescape(string(runes))
	if err != nil || text == "" {
		return nil
	}
	return &text
}

func reply(response http.ResponseWriter, status int, body any) {
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(status)
	_ = json.NewEncoder(response).Encode(body)
}

// signedIn hands the user on. The proxy has replaced whatever the client sent under these names.
func signedIn(handle func(http.ResponseWriter, *http.Request, User)) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		id := header(request, "User")
		if id == nil {
			reply(response, 401, map[string]string{"code": "NOT_BEHIND_PROXY"})
			return
		}
		handle(response, request, User{ID: *id, Email: header(request, "Email"), Role: header(request, "Role")})
	}
}

func main() {
	database, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}

	http.HandleFunc("/me", signedIn(func(response http.ResponseWriter, _ *http.Request, user User) {
		reply(response, 200, user)
	}))

	http.HandleFunc("/account", signedIn(func(response http.ResponseWriter, request *http.Request, user User) {
		var account struct {
			ID        string  `json:"id"`
			Email     *string `json:"email"`
			FirstName *string `json:"firstName"`
		}
		row := database.QueryRowContext(request.Context(),
			"select id, email, first_name from clerk.users where id = $1 and deleted_at is null", user.ID)
		if err := row.Scan(&account.ID, &account.Email, &account.FirstName); err != nil {
			log.Print(err)
			reply(response, 500, map[string]string{"code": "DATABASE"})
			return
		}
		reply(response, 200, account)
	}))

	http.HandleFunc("/admin", signedIn(func(response http.ResponseWriter, _ *http.Request, user User) {
		if user.Role == nil || *user.Role != "org:admin" {
			reply(response, 403, map[string]string{"code": "ADMINS_ONLY"})
			return
		}
		reply(response, 200, map[string]string{"welcome": user.ID})
	}))

	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
