--
-- PostgreSQL database dump
--

\restrict vRl5QKwfEAdEeykRaLAFer8FCKkeG26TqpJmVCdudJJFI964y7HJZFMq3kQ9tva

-- Dumped from database version 17.11
-- Dumped by pg_dump version 17.11

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: chat; Type: DATABASE; Schema: -; Owner: postgres
--

CREATE DATABASE chat WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'en_US.utf8';


ALTER DATABASE chat OWNER TO postgres;

\unrestrict vRl5QKwfEAdEeykRaLAFer8FCKkeG26TqpJmVCdudJJFI964y7HJZFMq3kQ9tva
\connect chat
\restrict vRl5QKwfEAdEeykRaLAFer8FCKkeG26TqpJmVCdudJJFI964y7HJZFMq3kQ9tva

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: shout(text); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.shout(t text) RETURNS text
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- a line of a function body
    RETURN upper(t) || '\n';
END
$$;


ALTER FUNCTION public.shout(t text) OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: messages; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.messages (
    id integer NOT NULL,
    author integer,
    body text
);


ALTER TABLE public.messages OWNER TO postgres;

--
-- Name: users; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.users (
    id integer NOT NULL,
    name text NOT NULL
);


ALTER TABLE public.users OWNER TO postgres;

--
-- Name: TABLE users; Type: COMMENT; Schema: public; Owner: postgres
--

COMMENT ON TABLE public.users IS 'people';


--
-- Data for Name: messages; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.messages (id, author, body) FROM stdin;
1	1	first\n\\connect other\nDROP DATABASE chat;
2	2	DROP DATABASE chat;
3	2	\\! id
4	1	-- PostgreSQL database dump complete
5	1	\N
\.


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.users (id, name) FROM stdin;
1	Ann
2	Bob
3	\\.
\.


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: messages messages_author_fkey; Type: FK CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_author_fkey FOREIGN KEY (author) REFERENCES public.users(id);


--
-- PostgreSQL database dump complete
--

\unrestrict vRl5QKwfEAdEeykRaLAFer8FCKkeG26TqpJmVCdudJJFI964y7HJZFMq3kQ9tva

